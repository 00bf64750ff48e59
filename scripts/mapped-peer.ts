/**
 * llama.cpp by mmap with weights as they are in the file, for comparisons where the weights do not fit in
 * memory. node-llama-cpp has no option for that: it repacks the weights of most formats into memory of its
 * own, and is killed if the limit is smaller than these weights. `@fugood/llama.node` has such an option
 * (`no_extra_bufts`). It is installed in a temporary directory.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface MappedPeerRequest {
  readonly gguf: string;
  readonly threads: number;
  readonly prompt: string;
  /** Tokens to generate, at most, and after how many seconds to stop. */
  readonly tokens: number;
  readonly seconds: number;
  /** Positions of a prompt per batch; its working memory counts towards the limit. */
  readonly chunk: number;
  /** What to put before the command. */
  readonly under: readonly string[];
}

export interface MappedPeerRun {
  readonly promptTokens: number;
  readonly promptMs: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Bytes read from storage per generated token, as Linux counts them. */
  readonly bytesPerToken: number;
}

const directory = join(tmpdir(), 'flashllm-mapped-peer');
const programFile = 'measure.mjs';
const version = '1.7.15';
const packages = ['llama.node', 'node-llama-linux-x64'].map((name) => `@fugood/${name}@${version}`);

const program = `
import { readFileSync } from 'node:fs';
import { loadModel } from '@fugood/llama.node';
const { gguf, threads, prompt, tokens, seconds, chunk } = JSON.parse(process.argv[2]);
const bytesRead = () => Number(/^read_bytes: (\\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))[1]);
const context = await loadModel({
  model: gguf, use_mmap: true, no_extra_bufts: true, n_gpu_layers: 0, n_threads: threads,
  n_ctx: 4096, n_batch: chunk, n_ubatch: chunk, warmup: false,
});
let made = 0;
let before = 0;
let started = 0;
const { timings } = await context.completion(
  { prompt, n_predict: tokens + 1, temperature: 0, ignore_eos: true },
  () => {
    if (made++ === 0) { before = bytesRead(); started = performance.now(); }
    else if (performance.now() - started > seconds * 1000) context.stopCompletion();
  },
);
console.log('result ' + JSON.stringify({
  promptTokens: timings.prompt_n,
  promptMs: timings.prompt_ms,
  tokens: made - 1,
  tokensPerSecond: timings.predicted_per_second,
  bytesPerToken: (bytesRead() - before) / Math.max(1, made - 1),
}));
process.exit(0);
`;

/** Installs it from npm, once. */
export function installMappedPeer(): void {
  if (!existsSync(join(directory, 'node_modules', '@fugood', 'node-llama-linux-x64'))) {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    const options = ['--ignore-scripts', '--omit=optional'];
    execFileSync('npm', ['install', ...options, ...packages], { cwd: directory });
  }
  writeFileSync(join(directory, programFile), program);
}

/** The most time that loading and the prompt may take. */
const patienceMs = 900_000;

/**
 * Processes a prompt and generates with it.
 * @returns null if it was killed or did not finish
 */
export function runMappedPeer({ under, ...request }: MappedPeerRequest): MappedPeerRun | null {
  // Cached pages of the file are charged to another group, so this one could use them for free.
  execFileSync('dd', [`if=${request.gguf}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
  const [command = '', ...args] = [
    ...under,
    ...[process.execPath, programFile, JSON.stringify(request)],
  ];
  const { stdout } = spawnSync(command, args, {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: patienceMs + 2000 * request.seconds,
    killSignal: 'SIGKILL',
  });
  const found = /^result (.*)$/m.exec(stdout.toString())?.[1];
  return found === undefined ? null : (JSON.parse(found) as MappedPeerRun);
}
