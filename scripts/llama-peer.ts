/** llama.cpp through node-llama-cpp, installed in a temporary directory, to be compared with. */

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface PeerRequest {
  readonly gguf: string;
  readonly threads: number;
  /** Tokens to time, at most, and after how long to stop. */
  readonly tokens: number;
  readonly seconds: number;
  /** Map the file, so that its pages come and go; else read it into memory. */
  readonly mmap: boolean;
  /** What to put before the command. */
  readonly under?: readonly string[];
  /** How long loading and the first token may take, in milliseconds; by mmap under a limit they have taken 13 minutes. */
  readonly patienceMs?: number;
}

export interface PeerRun {
  readonly tokensPerSecond: number;
  /** Read from storage, where the system tells. */
  readonly bytesPerToken: number | null;
  readonly peakRss: number;
}

/** Where it is installed. */
export const peerDirectory = join(tmpdir(), 'flashllm-peer');
const programFile = 'measure.mjs';

const program = `
import { readFileSync } from 'node:fs';
import { getLlama } from 'node-llama-cpp';
const { gguf, threads, tokens, seconds, mmap } = JSON.parse(process.argv[2]);
const read = (file, pattern) => {
  try { return Number(pattern.exec(readFileSync(file, 'utf8'))[1]); } catch { return null; }
};
const bytesRead = () => read('/proc/self/io', /^read_bytes: (\\d+)$/m);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: threads });
const model = await llama.loadModel({ modelPath: gguf, useMmap: mmap });
const context = await model.createContext({
  // A small batch: logits of 512 positions and 150,000 tokens would take 311 MB of the limit.
  contextSize: 256, batchSize: 32, threads: { ideal: threads, min: threads },
});
const sequence = context.getSequence();
let made = 0;
let started = 0;
let before = 0;
for await (const _ of sequence.evaluate([1, 300, 301, 302, 303], { temperature: 0 })) {
  if (made++ === 0) { started = performance.now(); before = bytesRead(); }
  if (made > tokens || (made > 1 && performance.now() - started > seconds * 1000)) break;
}
const ms = performance.now() - started;
const after = bytesRead();
console.log(JSON.stringify({
  tokensPerSecond: ((made - 1) * 1000) / ms,
  bytesPerToken: before === null || after === null ? null : (after - before) / (made - 1),
  peakRss: (read('/proc/self/status', /^VmHWM:\\s+(\\d+) kB$/m) ?? 0) * 1024,
}));
process.exit(0);
`;

/** Installs it from npm, once. */
export function installPeer(): void {
  if (!existsSync(join(peerDirectory, 'node_modules', 'node-llama-cpp'))) {
    mkdirSync(peerDirectory, { recursive: true });
    writeFileSync(join(peerDirectory, 'package.json'), '{"type":"module"}');
    execFileSync('npm', ['install', '--ignore-scripts', 'node-llama-cpp@3'], {
      cwd: peerDirectory,
    });
  }
  writeFileSync(join(peerDirectory, programFile), program);
}

/**
 * Its backend with matrix instructions (AMX) lays every weight anew in memory of its own, so that
 * nothing is mapped; without it the next best one is taken.
 */
const copyingBackend = join(
  ...[peerDirectory, 'node_modules', '@node-llama-cpp', 'linux-x64', 'bins', 'linux-x64'],
  'libggml-cpu-sapphirerapids.so',
);

function withoutCopying<T>(run: () => T): T {
  const aside = `${copyingBackend}.aside`;
  if (!existsSync(copyingBackend)) return run();
  renameSync(copyingBackend, aside);
  try {
    return run();
  } finally {
    renameSync(aside, copyingBackend);
  }
}

/** Generates with it, and measures; 0 tokens per second when it is killed or does not come to an end. */
export function runPeer(request: PeerRequest): PeerRun {
  return request.mmap ? withoutCopying(() => measure(request)) : measure(request);
}

function measure({ under = [], patienceMs = 300_000, ...request }: PeerRequest): PeerRun {
  const [command = '', ...args] = [
    ...under,
    ...[process.execPath, programFile, JSON.stringify(request)],
  ];
  const { stdout, error } = spawnSync(command, args, {
    cwd: peerDirectory,
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: patienceMs + 2 * request.seconds * 1000,
    killSignal: 'SIGKILL',
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT') {
    return { tokensPerSecond: 0, bytesPerToken: null, peakRss: 0 };
  }
  const printed = stdout.toString();
  // Killed for want of memory it has said nothing.
  if (printed === '') return { tokensPerSecond: 0, bytesPerToken: null, peakRss: 0 };
  return JSON.parse(printed) as PeerRun;
}
