/**
 * Writes the input for comparing a model with a reference: the ids of prompts and of a text's windows, each
 * after BOS, as `eval` scores them, and the greedy ids with which the model continues the prompts.
 *
 *     node --import tsx scripts/token-windows.ts <model> <text> <out.json> [context]
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { generate, Model, Runtime } from '../src/index.ts';

const [dir = '', file = '', output = '', positions = '512'] = process.argv.slice(2);
const prompts = [
  'The capital of France is',
  'Once upon a time there was a little girl who',
  'def fibonacci(n):\n    ',
  'Die Hauptstadt von Deutschland ist',
  '1, 2, 3, 4, 5,',
];
const maxTokens = 24;

const model = await Model.open(dir);
const { tokenizer } = model;
const { bosId } = tokenizer;
if (bosId === undefined) throw new Error('the model has no BOS token');
const text = tokenizer.encode(readFileSync(file, 'utf8'));
const size = Number(positions) - 1;
const windows = Array.from({ length: Math.ceil(text.length / size) }, (_, i) => [
  bosId,
  ...text.slice(i * size, (i + 1) * size),
]);
const ids = prompts.map((prompt) => [bosId, ...tokenizer.encode(prompt)]);
const budget = 2 ** 31;
const runtime = await Runtime.open(model, { budget, context: 128, ffn: 'exact' });
const greedy: (readonly number[])[] = [];
for (const promptIds of ids) {
  const sequence = runtime.sequence();
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 };
  const { tokens } = await generate(sequence, { promptIds, maxTokens, sampling });
  greedy.push(tokens);
  sequence.close();
}
await runtime.close();
model.close();
writeFileSync(output, JSON.stringify({ ids, greedy, windows }));
