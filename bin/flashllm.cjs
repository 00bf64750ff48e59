#!/usr/bin/env node
'use strict';
// A CommonJS entry, because libuv reads UV_THREADPOOL_SIZE when its pool first starts, and loading
// an ES module on Node 20 already starts it.
const { join } = require('node:path');
const { startWithinLimits } = require('./address-space.cjs');
const { load } = require('./load-in-order.cjs');
const { readThreads } = require('./read-threads.cjs');

// A young generation that does not grow keeps up to 30 MiB of garbage out of the budget: with three
// million short-lived objects Node 20 peaks at 61 MiB instead of 81, at the same speed.
// The old generation is collected when it has grown by a quarter. By default, garbage of reads that
// were long in flight grew to 28 MiB over 64 tokens of a 7B model.
const { setFlagsFromString } = require('node:v8');
setFlagsFromString('--semi-space-growth-factor=1');
setFlagsFromString('--heap-growing-percent=25');

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 15)) {
  process.stderr.write(`flashllm needs Node.js 20.15 or newer; this is ${process.version}.\n`);
  process.exitCode = 2;
} else if (!startWithinLimits(__filename)) {
  process.env.UV_THREADPOOL_SIZE ??= String(readThreads(process.argv.slice(2)));
  let ended = false;
  process.on('beforeExit', () => {
    if (ended) return;
    ended = true;
    process.stderr.write('error: the event loop is empty, but the work is not done.\n');
    process.exitCode = 1;
  });
  load(join(__dirname, '../dist/cli/main.js'))
    .then(({ main }) => main(process.argv))
    .catch((error) => {
      const hint = error.code === 'EMFILE' ? '. Raise the limit of open files (ulimit -n)' : '';
      process.stderr.write(`flashllm cannot start: ${error.message}${hint}\n`);
      process.exitCode = 1;
    })
    .finally(() => {
      ended = true;
    });
}
