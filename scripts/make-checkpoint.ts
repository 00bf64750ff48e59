/**
 * Writes a Hugging Face directory of a real geometry, at the speed of the disk, for measuring at
 * sizes whose real weights are not at hand. Two kinds:
 *
 *   widened   the bundled small model, widened: the same text, the same patterns of activation
 *   random    random weights of a given FFN sparsity: any token is as good as any other
 *
 *   node --import tsx scripts/make-checkpoint.ts <geometry> <directory> [--random <sparsity> [--rank <n>]]
 *       [--perturbation <share>] [--epsilon <scale>] [--noise <deviation>]
 *
 * Geometries: opt-125m, opt-1.3b, opt-2.7b, opt-6.7b; random ones also falcon-7b and llama-7b.
 * scripts/measure-activity.ts measures the converted model.
 */

import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { freeBytes } from '../src/free-space.ts';
import { optConfig, optGeometries } from './checkpoint/opt.ts';
import { randomGeometries } from './checkpoint/random-model.ts';
import { readSmall } from './checkpoint/small-model.ts';
import { widen, widenDefaults } from './checkpoint/widen.ts';
import { type MadeTensor, tensorBytes, writeCheckpoint } from './checkpoint/writer.ts';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const smallModel = join(fixtures, 'stories-opt');

const number = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { random: number, rank: number, perturbation: number, epsilon: number, noise: number },
});
const [name = '', directory = ''] = positionals;
const geometry = optGeometries[name];
const random = randomGeometries[name];
if (directory === '' || random === undefined || (geometry ?? values.random) === undefined) {
  const names = Object.keys(randomGeometries).join('|');
  process.stderr.write(`usage: make-checkpoint.ts <${names}> <directory> [--random <sparsity>]\n`);
  process.exit(2);
}

const started = performance.now();
if (values.random !== undefined) {
  const { config, vocab, tensors } = random({
    sparsity: Number(values.random),
    rank: values.rank === undefined ? undefined : Number(values.rank),
  });
  await write(tensors, config);
  await writeGpt2Tokenizer(vocab);
} else if (geometry !== undefined) {
  const option = (key: 'perturbation' | 'epsilon' | 'noise') =>
    Number(values[key] ?? widenDefaults[key]);
  const tensors = widen(readSmall(smallModel), geometry, {
    ...widenDefaults,
    perturbation: option('perturbation'),
    epsilon: option('epsilon'),
    noise: option('noise'),
  });
  await write(tensors, optConfig(geometry));
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json']) {
    await copyFile(join(smallModel, file), join(directory, file));
  }
}

async function write(tensors: readonly MadeTensor[], config: Readonly<Record<string, unknown>>) {
  const bytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  await mkdir(dirname(directory), { recursive: true });
  const free = await freeBytes(dirname(directory));
  if (free < bytes * 1.01) {
    process.stderr.write(`${directory} needs ${(bytes / 1e9).toFixed(1)} GB of disk\n`);
    process.exit(1);
  }
  await writeCheckpoint(directory, tensors);
  await writeFile(join(directory, 'config.json'), JSON.stringify(config, null, 1));
  const seconds = (performance.now() - started) / 1000;
  process.stderr.write(
    `${directory}: ${(bytes / 1e9).toFixed(2)} GB in ${seconds.toFixed(1)} s, ` +
      `${(bytes / 1e6 / seconds).toFixed(0)} MB/s\n`,
  );
}

/** Four special tokens, then GPT-2's, up to the size of the vocabulary; synthetic tokens fill the rest. */
async function writeGpt2Tokenizer(size: number): Promise<void> {
  const gpt2 = join(fixtures, 'gpt2');
  const vocabulary: Record<string, number> = { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3 };
  let next = Object.keys(vocabulary).length;
  const tokens = JSON.parse(await readFile(join(gpt2, 'vocab.json'), 'utf8')) as object;
  for (const token of Object.keys(tokens)) if (next < size) vocabulary[token] = next++;
  while (next < size) vocabulary[`<extra_${next}>`] = next++;
  const merges = (await readFile(join(gpt2, 'merges.txt'), 'utf8')).split('\n');
  // A merge counts when its result is in the vocabulary.
  const kept = merges.filter((line) => line.replace(' ', '') in vocabulary);
  await writeFile(join(directory, 'vocab.json'), JSON.stringify(vocabulary));
  await writeFile(join(directory, 'merges.txt'), `${kept.join('\n')}\n`);
  const config = 'tokenizer_config.json';
  await copyFile(join(smallModel, config), join(directory, config));
}
