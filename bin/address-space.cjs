'use strict';
// Where a limit is set on this process's address space (`ulimit -v`, as shared hosting does it).
//
// V8 reserves some 10 GiB of addresses for each WebAssembly memory, so that it need not check bounds:
// a read beyond the end is a trap of the processor. It can do with checks instead, which costs time,
// and only says so when Node starts. So Node is started once more, in the place of this process where
// it can be (process.execve), else as its child.

const { readFileSync } = require('node:fs');
const { totalmem } = require('node:os');
const { spawn } = require('node:child_process');

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const flag = '--disable-wasm-trap-handler';
/** What a memory takes with the trap handler. */
const reservedBytes = 10 * GIB;
/** Memories besides those of 4 GiB that hold weights: buffers of reads and the like. */
const smallMemories = 16;
/** With less, Node dies while it loads and compiles what it runs. */
const leastBytes = 400 * MIB;
/** Each thread that reads takes 8 MiB of addresses for its stack. */
const scarceBytes = 4 * GIB;

/** Bytes of addresses that this process may take, and takes; null where there is no limit. */
function addressSpace() {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    const limit = Number(/^Max address space +(\d+)/m.exec(limits)?.[1] ?? Number.NaN);
    const status = readFileSync('/proc/self/status', 'latin1');
    const used = 1024 * Number(/^VmSize:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN);
    return limit > 0 && used > 0 ? { limit, used } : null;
  } catch {
    return null; // no such files, on other systems
  }
}

/**
 * Starts Node once more if it must be without the trap handler.
 * @param {string} script what is to be run
 * @returns {boolean} whether this process has nothing more to do
 */
function startWithinLimit(script) {
  const space = addressSpace();
  if (space === null) return false;
  if (space.limit - space.used < leastBytes) {
    const size = `${(space.limit / GIB).toFixed(1)} GiB`;
    process.stderr.write(
      `error: the address space of this process is limited to ${size} (ulimit -v), too little for Node.js. Raise the limit to 2 GiB or more.\n`,
    );
    process.exitCode = 2;
    return true;
  }
  const memories = smallMemories + Math.ceil(totalmem() / (4 * GIB));
  const started = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)];
  if (space.limit > memories * reservedBytes || started.includes(flag)) return false;

  const env = { MALLOC_ARENA_MAX: '2', ...process.env };
  if (space.limit < scarceBytes) env.UV_THREADPOOL_SIZE ??= '8';
  const args = [...process.execArgv, flag, script, ...process.argv.slice(2)];
  if (typeof process.execve === 'function') {
    process.removeAllListeners('warning'); // execve is called experimental
    process.execve(process.execPath, [process.execPath, ...args], env);
  }
  startAsChild(args, { ...env, FLASHLLM_LAUNCHER: String(process.pid) });
  return true;
}

/** Runs Node as a child, passes signals on to it, and ends as it ends. */
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

module.exports = { startWithinLimit };
