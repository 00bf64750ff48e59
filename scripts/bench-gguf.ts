/**
 * Compares flashllm with llama.cpp (node-llama-cpp) on one GGUF file, everything in memory, in alternating
 * rounds: generated tokens, a prompt, and the first token of a process that has just been started. Besides
 * elapsed times, which are meaningful only on an idle machine, it prints processor times.
 *
 *   node --import tsx scripts/bench-gguf.ts <model> <file.gguf> [--rounds <n>] [--threads 1,2]
 *       [--tokens <n>] [--prompt-tokens <n>] [--node <binary>] [--json]
 *
 * <model> is the directory that `flashllm convert` made of the file. Run `npm run build` first.
 */

import { parseArgs } from 'node:util';
import { type Engine, engines, firstTokenOf, speedsOf } from './gguf-run.ts';
import { median } from './median.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: text('5'),
    threads: text('1,2'),
    tokens: text('48'),
    'prompt-tokens': text('512'),
    node: text(process.execPath),
    json: { type: 'boolean', default: false },
  },
});
const [dir, gguf] = positionals;
if (dir === undefined || gguf === undefined) {
  process.stderr.write('usage: bench-gguf.ts <model> <file.gguf> [--rounds <n>] ...\n');
  process.exit(2);
}
const lengths = { prompt: Number(values['prompt-tokens']), tokens: Number(values.tokens) };

/** The measured quantities, and whether larger or smaller is better. */
const figures = {
  decode: { unit: 'tokens/s', larger: true },
  tokenCpuMs: { unit: 'ms of processors per token', larger: false },
  prefill: { unit: 'tokens/s', larger: true },
  prefillCpuMs: { unit: 'ms of processors per prompt', larger: false },
  firstMs: { unit: 'ms to the first token', larger: false },
  firstCpuMs: { unit: 'ms of processors to the first token', larger: false },
} as const;
type Figures = Readonly<Record<keyof typeof figures, number>>;

async function measure(engine: Engine, threads: number): Promise<Figures> {
  const model = { dir: dir as string, gguf: gguf as string, threads };
  const speeds = speedsOf(engine, model, lengths, values.node);
  const first = await firstTokenOf(engine, model, values.node);
  return { ...speeds, firstMs: first.ms, firstCpuMs: first.cpuMs };
}

const results = [];
for (const threads of values.threads.split(',').map(Number)) {
  const rounds: Record<Engine, Figures>[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const made: Partial<Record<Engine, Figures>> = {};
    // Each program goes first equally often.
    const order = round % 2 === 0 ? engines : [...engines].reverse();
    for (const engine of order) made[engine] = await measure(engine, threads);
    rounds.push(made as Record<Engine, Figures>);
  }
  for (const name of Object.keys(figures) as (keyof typeof figures)[]) {
    const { unit, larger } = figures[name];
    const [ours, theirs] = engines.map((engine) => rounds.map((each) => each[engine][name]));
    // Of speeds: above 1, flashllm is the faster one.
    const ratios = rounds.map(({ flashllm, 'llama.cpp': peer }) =>
      larger ? flashllm[name] / peer[name] : peer[name] / flashllm[name],
    );
    const row = { threads, name, unit, ours: median(ours ?? []), theirs: median(theirs ?? []) };
    results.push({ ...row, ratio: median(ratios), ratios });
    if (values.json) continue;
    process.stdout.write(
      `${threads} threads, ${name}: ${row.ours.toFixed(1)} beside ${row.theirs.toFixed(1)} ${unit}, ` +
        `speed ${median(ratios).toFixed(2)} (${ratios.map((ratio) => ratio.toFixed(2)).join(' ')})\n`,
    );
  }
}
if (values.json)
  process.stdout.write(`${JSON.stringify({ node: values.node, ...lengths, results })}\n`);
