/**
 * Compares greedy tokens of a converted GGUF file with llama.cpp's of the file itself: where they differ, and
 * by how much each of the two prefers its own token to the other's.
 *
 *     node --import tsx scripts/compare-greedy.ts <model> <file.gguf> [--tokens <n>] [--exact] [--prompts <file.json>]
 *
 * llama.cpp is given our tokens, so that it continues from them even where it would have chosen another one:
 * every position counts. Where it prefers another token, the script prints the difference of its two logits,
 * and of ours. The ids of the prompts are ours; a JSON file may give an array of other prompts.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Model, Runtime, type Sequence } from '../src/index.ts';
import { installPeer, peerDirectory } from './llama-peer.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tokens: text('64'),
    prompts: text(''),
    exact: { type: 'boolean', default: false },
  },
});
const [dir, gguf] = positionals;
if (dir === undefined || gguf === undefined) {
  process.stderr.write('usage: compare-greedy.ts <model> <file.gguf> [--tokens <n>] [--exact]\n');
  process.exit(2);
}
const tokens = Number(values.tokens);
const prompts: readonly string[] =
  values.prompts === ''
    ? [
        'The capital of France is',
        'Once upon a time there was a little girl who lived in a village near the forest.',
        'def fibonacci(n):\n    ',
        '// A queue with a fixed capacity\nclass Queue<T> {\n',
        'SELECT customers.name, SUM(orders.total)\nFROM',
        'Die Hauptstadt von Deutschland ist',
        '1, 2, 3, 4, 5,',
        '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nWrite a function that reverses a string in Python.<|im_end|>\n<|im_start|>assistant\n',
        '<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n',
      ]
    : JSON.parse(readFileSync(values.prompts, 'utf8'));

/** By how much a token is preferred: both ids, and the difference of their logits, at least 0. */
interface Choice {
  readonly best: number;
  readonly logits: ReadonlyMap<number, number>;
}

/** Prints, for each prompt, llama.cpp's best two logits and that of the token fed, at each position. */
const program = `
import { readFileSync } from 'node:fs';
import { getLlama } from 'node-llama-cpp';
const { gguf, prompts, made } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' });
const model = await llama.loadModel({ modelPath: gguf });
const context = await model.createContext({ contextSize: 512, batchSize: 512 });
const sequence = context.getSequence();
const found = [];
for (let i = 0; i < prompts.length; i++) {
  await sequence.clearHistory();
  const [ids, own] = [prompts[i], made[i]];
  const input = [...ids, ...own].slice(0, -1).map((id, place) => {
    const next = own[place - ids.length + 1];
    if (next === undefined) return id;
    return [id, { generateNext: { logits: { filter: { tokens: [next], includeTop: 2 } } } }];
  });
  const output = await sequence.controlledEvaluate(input);
  found.push(output.filter((one) => one !== undefined).map((one) => [...one.next.logits]));
}
console.log(JSON.stringify(found));
process.exit(0);
`;

function llamaChoices(ids: readonly number[][], made: readonly number[][]): Choice[][] {
  installPeer();
  const file = join(peerDirectory, 'greedy.mjs');
  const request = join(peerDirectory, 'greedy.json');
  writeFileSync(file, program);
  writeFileSync(request, JSON.stringify({ gguf, prompts: ids, made }));
  const printed = execFileSync(process.execPath, [file, request], {
    cwd: peerDirectory,
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 30,
  });
  const rows = JSON.parse(printed.toString()) as [number, number][][][];
  return rows.map((row) =>
    row.map((pairs) => {
      const [best = [Number.NaN, 0]] = [...pairs].sort((a, b) => b[1] - a[1]);
      return { best: best[0], logits: new Map(pairs) };
    }),
  );
}

/** Our greedy tokens after a prompt, and the logits of every position that made one. */
async function ours(sequence: Sequence, ids: readonly number[], count: number) {
  const made: number[] = [];
  const rows: Float32Array[] = [];
  let input = [...ids];
  while (made.length < count) {
    const logits = (await sequence.forward(input)).slice(-vocabulary);
    const best = logits.reduce((a, value, id) => (value > (logits[a] ?? 0) ? id : a), 0);
    made.push(best);
    rows.push(logits);
    input = [best];
  }
  return { made, rows };
}

const model = await Model.open(dir);
const vocabulary = model.manifest.spec.vocabSize;
const runtime = await Runtime.open(model, {
  ...{ budget: 8 * 2 ** 30, context: 512 },
  ffn: values.exact ? 'exact' : 'auto',
});
const ids = prompts.map((prompt) => [...model.tokenizer.encodePrompt(prompt)]);
const runs = [];
for (const prompt of ids) {
  const sequence = runtime.sequence();
  runs.push(await ours(sequence, prompt, tokens));
  sequence.close();
}
await runtime.close();

const theirs = llamaChoices(
  ids,
  runs.map(({ made }) => made),
);
let [same, all] = [0, 0];
for (const [i, { made, rows }] of runs.entries()) {
  const parted = (theirs[i] ?? []).flatMap(({ best, logits }, place) => {
    all++;
    const [own, row] = [made[place] ?? 0, rows[place]];
    if (best === own) {
      same++;
      return [];
    }
    const by = (logits.get(best) ?? 0) - (logits.get(own) ?? 0);
    const ownBy = (row?.[own] ?? 0) - (row?.[best] ?? 0);
    const words = [own, best].map((id) => JSON.stringify(model.tokenizer.decode([id])));
    return [
      `    token ${place + 1}: ${words[0]} here (by ${ownBy.toFixed(3)}), ${words[1]} there (by ${by.toFixed(3)})`,
    ];
  });
  const where =
    parted.length === 0
      ? `all ${made.length} the same`
      : `${parted.length} of ${made.length} differ`;
  process.stdout.write(
    `${JSON.stringify(prompts[i])}: ${where}\n${parted.map((line) => `${line}\n`).join('')}`,
  );
}
process.stdout.write(`${same} of ${all} tokens are llama.cpp's\n`);
model.close();
