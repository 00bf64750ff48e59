'use strict';
// Handles a limit on this process's address space (`ulimit -v`, as set by shared hosting).
//
// V8 reserves some 10 GiB of addresses for each WebAssembly memory, so that it need not check bounds:
// an access beyond the end makes the processor trap. V8 can check bounds instead, which costs time, but
// only a flag at Node's start selects that. So Node is started again: in place of this process where
// that is possible (process.execve), else as its child.

const { readFileSync } = require('node:fs');
const { totalmem } = require('node:os');
const { spawn } = require('node:child_process');

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const flag = '--disable-wasm-trap-handler';
/** Addresses that V8 reserves for a memory with the trap handler. */
const reservedBytes = 10 * GIB;
/** Memories in addition to those of 4 GiB that hold weights, such as buffers for reads. */
const smallMemories = 16;
/** With less, Node dies while it loads and compiles what it runs. */
const leastBytes = 400 * MIB;
/** Below this limit fewer threads read, as each takes 8 MiB of addresses for its stack. */
const scarceBytes = 4 * GIB;

/** The limits of this process's address space and data segment, and the bytes left of each. */
function limits() {
  try {
    const table = readFileSync('/proc/self/limits', 'latin1');
    const status = readFileSync('/proc/self/status', 'latin1');
    return [
      { row: 'Max address space', used: 'VmSize', name: 'address space', option: '-v' },
      { row: 'Max data size', used: 'VmData', name: 'data segment', option: '-d' },
    ].flatMap(({ row, used, name, option }) => {
      const limit = Number(new RegExp(`^${row} +(\\d+)`, 'm').exec(table)?.[1] ?? Number.NaN);
      const taken = Number(new RegExp(`^${used}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
      return limit > 0 ? [{ name, option, limit, left: limit - 1024 * taken }] : [];
    });
  } catch {
    return []; // no such files, on other systems
  }
}

/**
 * Starts Node again if the trap handler must be off.
 * @param {string} script the script to run
 * @returns {boolean} whether this process has nothing more to do
 */
function startWithinLimits(script) {
  const found = limits();
  const tight = found.find(({ left }) => left < leastBytes);
  if (tight !== undefined) {
    const size = `${(tight.limit / GIB).toFixed(1)} GiB`;
    process.stderr.write(
      `error: the ${tight.name} of this process is limited to ${size} (ulimit ${tight.option}), too little for Node.js. Raise the limit to 2 GiB or more.\n`,
    );
    process.exitCode = 2;
    return true;
  }
  if (found.some(({ limit }) => limit < scarceBytes)) process.env.UV_THREADPOOL_SIZE ??= '8';
  const space = found.find(({ option }) => option === '-v')?.limit ?? Number.POSITIVE_INFINITY;
  const memories = smallMemories + Math.ceil(totalmem() / (4 * GIB));
  const started = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)];
  if (space > memories * reservedBytes || started.includes(flag)) return false;

  const env = { MALLOC_ARENA_MAX: '2', ...process.env };
  const args = [...process.execArgv, flag, script, ...process.argv.slice(2)];
  if (typeof process.execve === 'function') {
    process.removeAllListeners('warning'); // execve is called experimental
    process.execve(process.execPath, [process.execPath, ...args], env);
  }
  startAsChild(args, { ...env, FLASHLLM_LAUNCHER: String(process.pid) });
  return true;
}

/** Runs Node as a child, passes signals on to it, and exits with its exit code or signal. */
function startAsChild(args, env) {
  const child = spawn(process.execPath, args, { stdio: 'inherit', env });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const pass = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, pass);
  child.on('error', (error) => {
    process.stderr.write(`flashllm cannot start: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    for (const name of signals) process.off(name, pass);
    if (signal !== null) process.kill(process.pid, signal);
    else process.exitCode = code;
  });
}

module.exports = { startWithinLimits };
