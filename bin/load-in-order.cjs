'use strict';
// Loads modules when a process may open only a few files (`ulimit -n 64`). Node 20 opens all modules
// that a module imports at once, some fifty here. This code imports them one by one, dependencies
// first, so that each finds its imports already loaded.

const { readFileSync } = require('node:fs');
const { dirname, resolve } = require('node:path');
const { pathToFileURL } = require('node:url');

/** With a limit of at least this many open files, modules load normally. */
const plenty = 256;

function mayOpenFew() {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? plenty) < plenty;
  } catch {
    return false; // no such file, on other systems
  }
}

/** Matches static imports, and dynamic imports of a literal name. */
const imported = /^(?:import|export)\b[^'"]*?from\s+'([^']+)'|\bimport\('([^']+)'\)/gm;

/** All modules that `file` imports, directly or indirectly, then `file` itself. */
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
 * Imports a module of this package and its dependencies.
 * @param {string} file
 */
async function load(file) {
  if (mayOpenFew()) for (const name of inOrder(file)) await import(name);
  return import(pathToFileURL(file).href);
}

module.exports = { load };
