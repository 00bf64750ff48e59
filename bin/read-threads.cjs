'use strict';
const { existsSync } = require('node:fs');
const { join } = require('node:path');

/**
 * The number of threads for reads of flash, and so the most that are in flight. Streams are read in pieces of
 * 512 KiB: with 8 of them in flight, a device delivered 2.2 GB/s, and 2.0 GB/s with 32. Single neurons are
 * read in pieces of 32 KiB and more, which take 16. `probe` measures up to 32.
 * @param {readonly string[]} args the command line
 */
function readThreads(args) {
  if (args.includes('probe')) return 32;
  const hasPredictors = (arg) =>
    existsSync(join(arg.slice(arg.indexOf('=') + 1), 'predictors.safetensors'));
  return args.some(hasPredictors) ? 16 : 8;
}

module.exports = { readThreads };
