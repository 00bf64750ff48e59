'use strict';
// Where a process may have few files open (`ulimit -n 64`). Node 20 opens all modules that one
// imports at once, some fifty here. Imported one by one, those first that import nothing, each finds
// what it imports loaded.

const { readFileSync } = require('node:fs');
const { dirname, resolve } = require('node:path');
const { pathToFileURL } = require('node:url');

/** With this many, modules load as they are. */
const plenty = 256;

function mayOpenFew() {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? plenty) < plenty;
  } catch {
    return false; // no such file, on other systems
  }
}

/** What a module imports at its beginning, and what it imports once that is wanted. */
const imported = /^(?:import|export)\b[^'"]*?from\s+'([^']+)'|\bimport\('([^']+)'\)/gm;

/** All that `file` imports, directly or not, then `file` itself. */
function inOrder(file, found = new Set([file])) {
  const source = readFileSync(file, 'utf8');
  const order = [];
  for (const [, first, later] of source.matchAll(imported)) {
    const name = first ?? later;
    const isOurs = name.startsWith('.');
    const path = isOurs ? resolve(dirname(file), name) : name;
    if (name.startsWith('node:') || found.has(path)) continue;
    found.add(path);
    if (isOurs) order.push(...inOrder(path, found));
    else order.push(name);
  }
  return [...order, pathToFileURL(file).href];
}

/**
 * Imports a module of ours and what it needs.
 * @param {string} file
 */
async function load(file) {
  if (mayOpenFew()) for (const name of inOrder(file)) await import(name);
  return import(pathToFileURL(file).href);
}

module.exports = { load };
