/** One measured run of a GGUF file's model, in a process of its own: in flashllm, or in llama.cpp. */

import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installPeer, peerDirectory } from './llama-peer.ts';

export interface GgufModel {
  /** The directory that `convert` made of the file, and the file. */
  readonly dir: string;
  readonly gguf: string;
  readonly threads: number;
}

export interface Speeds {
  /** Tokens per second of elapsed time. */
  readonly prefill: number;
  readonly decode: number;
  /** Processor time of all threads, in milliseconds: of the prompt, and of one token made. */
  readonly prefillCpuMs: number;
  readonly tokenCpuMs: number;
}

export interface FirstToken {
  /** From the start of the process to its first text. */
  readonly ms: number;
  /** Processor time of the whole process. */
  readonly cpuMs: number;
}

export const engines = ['flashllm', 'llama.cpp'] as const;
export type Engine = (typeof engines)[number];

const root = fileURLToPath(new URL('..', import.meta.url));
const launcher = join(root, 'bin', 'flashllm.cjs');
/** Five tokens in most vocabularies. */
const shortPrompt = 'Once upon a time,';

const common = `
const { dir, gguf, threads, prompt, tokens, firstOnly } = JSON.parse(process.argv[2]);
const marks = [];
const mark = () => marks.push({ ms: performance.now(), cpu: process.cpuUsage() });
const since = (a, b, what) => what === 'ms' ? b.ms - a.ms
  : (b.cpu.user + b.cpu.system - a.cpu.user - a.cpu.system) / 1000;
const report = () => {
  const [start, first, last] = marks;
  console.log(JSON.stringify({
    prefill: (prompt * 1000) / since(start, first, 'ms'),
    decode: (tokens * 1000) / since(first, last, 'ms'),
    prefillCpuMs: since(start, first, 'cpu'),
    tokenCpuMs: since(first, last, 'cpu') / tokens,
  }));
};
const ids = Array.from({ length: prompt }, (_, i) => 300 + (i * 7919) % 9000);
`;

/** A pass over other ids comes first, so that all code is compiled and all pages are in memory. */
const programs: Readonly<Record<Engine, string>> = {
  flashllm: `
import { Model, Runtime } from ${JSON.stringify(join(root, 'dist', 'index.js'))};
${common}
const model = await Model.open(dir);
const runtime = await Runtime.open(model, {
  budget: 8 * 2 ** 30, context: prompt + tokens + 8, sequences: 1, ffn: 'auto', threads,
});
const sequence = runtime.sequence();
for (const id of [1, 2, 3, 4, 5, 6, 7, 8]) await sequence.forward([id]);
sequence.rewind(0);
await sequence.forward([...ids].reverse());
sequence.rewind(0);
mark();
await sequence.forward(ids);
mark();
for (let i = 0; i < tokens; i++) await sequence.forward([ids[i]]);
mark();
report();
await runtime.close();
model.close();
`,
  'llama.cpp': `
import { getLlama } from 'node-llama-cpp';
${common}
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: threads });
const model = await llama.loadModel({ modelPath: gguf, useMmap: false });
const context = await model.createContext({
  contextSize: Math.max(512, 2 * prompt + tokens + 8), batchSize: 512, threads: { ideal: threads, min: threads },
});
const sequence = context.getSequence();
if (firstOnly) {
  const own = model.tokenize(${JSON.stringify(shortPrompt)});
  for await (const id of sequence.evaluate(own, { temperature: 0 })) {
    process.stdout.write(model.detokenize([id]) + '\\n');
    break;
  }
  process.exit(0);
}
const pass = async (input, count) => {
  let made = 0;
  for await (const _ of sequence.evaluate(input, { temperature: 0, yieldEogToken: true })) {
    if (made === 0) mark();
    if (made++ === count) return;
  }
};
await pass([...ids].reverse(), 8);
await sequence.clearHistory();
marks.length = 0;
mark();
await pass(ids, tokens);
mark();
report();
process.exit(0);
`,
};

/** Prints the processor time of the process to descriptor 3 when it ends. */
const cpuAtExit = `data:text/javascript,${encodeURIComponent(`
import { isMainThread } from 'node:worker_threads';
import { writeSync } from 'node:fs';
if (isMainThread) process.on('exit', () => {
  const { user, system } = process.cpuUsage();
  writeSync(3, String((user + system) / 1000));
});`)}`;

/** Speeds of prompt and of tokens made after it, the process warmed up. */
export function speedsOf(
  engine: Engine,
  model: GgufModel,
  lengths: { readonly prompt: number; readonly tokens: number },
  node: string,
): Speeds {
  const output = execFileSync(node, [programOf(engine), JSON.stringify({ ...model, ...lengths })], {
    cwd: peerDirectory,
    env: { ...process.env, UV_THREADPOOL_SIZE: '8' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(output.toString()) as Speeds;
}

/** The first token after a prompt of five tokens, from a process that has just been started. */
export async function firstTokenOf(
  engine: Engine,
  model: GgufModel,
  node: string,
): Promise<FirstToken> {
  const { dir, threads } = model;
  const args =
    engine === 'llama.cpp'
      ? [programOf(engine), JSON.stringify({ ...model, prompt: 8, tokens: 1, firstOnly: true })]
      : [
          ...[launcher, 'generate', dir, '--prompt', shortPrompt, '--max-tokens', '1'],
          ...['--temperature', '0', '--ignore-eos', '--threads', String(threads)],
        ];
  const started = performance.now();
  const child = spawn(node, args, {
    cwd: peerDirectory,
    env: { ...process.env, NODE_OPTIONS: `--import "${cpuAtExit}"` },
    stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
  });
  let [ms, cpu] = [Number.NaN, ''];
  child.stdout?.once('data', () => {
    ms = performance.now() - started;
  });
  child.stdio[3]?.on('data', (text: Buffer) => {
    cpu += text.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0 || Number.isNaN(ms)) throw new Error(`${engine} ended with code ${code}`);
  return { ms, cpuMs: Number(cpu) };
}

/** The file with an engine's program: in the peer's directory, where its packages are found. */
function programOf(engine: Engine): string {
  installPeer();
  const file = join(peerDirectory, `gguf-${engine}.mjs`);
  writeFileSync(file, programs[engine]);
  return file;
}
