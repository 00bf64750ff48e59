/**
 * The inputs that cases are made from: valid ones, from the committed fixtures and from our own commands.
 * Each has a subject, which is changed, and other files, which stay as they are:
 *
 *     <corpus>/<route>/<input>/subject/...    what is changed
 *                             /fixed/...      what it is used with
 */

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import type { TargetFormat } from '../../src/convert/target-formats.ts';
import { Model } from '../../src/engine/model.ts';
import { InterruptedError } from '../../src/errors.ts';
import { manifestFile } from '../../src/flash/manifest.ts';
import { predictTrain } from '../../src/predictor/predict-train.ts';
import type { PredictTrainRequest } from '../../src/predictor/settings.ts';
import { writeShards } from '../../test/support/checkpoint.ts';
import { type BlockModel, writeBlockGguf } from '../../test/support/gguf-model.ts';
import { splitGguf } from '../../test/support/gguf-split.ts';
import { type ManifestDocument, mended } from '../../test/support/manifest.ts';
import { writePublished } from '../../test/support/published.ts';
import { readSafetensors, type Tensors } from '../../test/support/safetensors.ts';
import { torchFile } from '../../test/support/torch-file.ts';

export const routes = [
  'checkpoint',
  'gguf',
  'model',
  'reader',
  'tokenizer',
  'template',
  'import',
  'leftover',
  'text',
  'profile',
] as const;
export type Route = (typeof routes)[number];

/** Options of training in a case: as little as possible. */
export const trainedTokens = 64;
/** Budget in bytes for the whole process: enough for a worker that has run many cases. */
export const roomyBudget = 2 ** 30;

const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const text = readFileSync(join(fixtures, 'text/valid.txt'), 'utf8').slice(0, 6_000);

/** Writes all inputs into `dir`; the same ones every time. */
export async function buildCorpus(dir: string): Promise<void> {
  const corpus = new CorpusWriter(dir);
  checkpoints(corpus);
  ggufs(corpus);
  readers(corpus);
  tokenizers(corpus);
  templates(corpus);
  await models(corpus);
}

class CorpusWriter {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** The directory of an input, created if it does not exist. */
  place(route: Route, name: string, part: 'subject' | 'fixed' = 'subject'): string {
    const path = join(this.#dir, route, name, part);
    mkdirSync(path, { recursive: true });
    return path;
  }

  copy(from: string, to: string): void {
    const source = join(fixtures, from);
    const answers = /^(logits\.f32|reference\.json|PROVENANCE\.md|cases\.json)$/;
    cpSync(source, to, { recursive: true, filter: (path) => !answers.test(basename(path)) });
  }
}

const foldersIn = (name: string) =>
  readdirSync(join(fixtures, name), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();

/** Hugging Face directories: every family and variant, and every way to store weights. */
function checkpoints(corpus: CorpusWriter): void {
  for (const folder of ['families', 'opt-variants']) {
    for (const name of foldersIn(folder)) {
      corpus.copy(`${folder}/${name}`, corpus.place('checkpoint', name));
    }
  }
  for (const name of ['stories-opt', 'stories-opt-bin']) {
    corpus.copy(name, corpus.place('checkpoint', name));
  }
  const tensors = readSafetensors(join(fixtures, 'families/llama/model.safetensors'));
  const withoutWeights = (name: string) => {
    const dir = corpus.place('checkpoint', name);
    corpus.copy('families/llama', dir);
    rmSync(join(dir, 'model.safetensors'));
    return dir;
  };
  writeShards(withoutWeights('llama-sharded'), tensors, 3);
  writeFileSync(join(withoutWeights('llama-bin'), 'pytorch_model.bin'), torchFile(tensors));
  writeBinShards(withoutWeights('llama-bin-sharded'), tensors);
}

function writeBinShards(dir: string, tensors: Tensors): void {
  const all = [...tensors];
  const half = Math.ceil(all.length / 2);
  const weightMap: Record<string, string> = {};
  for (const [index, part] of [all.slice(0, half), all.slice(half)].entries()) {
    const name = `pytorch_model-0000${index + 1}-of-00002.bin`;
    writeFileSync(join(dir, name), torchFile(new Map(part)));
    for (const [tensor] of part) weightMap[tensor] = name;
  }
  const file = join(dir, 'pytorch_model.bin.index.json');
  writeFileSync(file, JSON.stringify({ metadata: {}, weight_map: weightMap }));
}

/** Blocks that stay as they are: of FFNs in tiles, of attention in one matrix or in three. */
const keptFormats: BlockModel = {
  ...{ hidden: 256, layers: 2, heads: 4, kvHeads: 2, ffn: 512, vocab: 600 },
  typeOf: (name) => {
    if (name === 'output.weight') return null;
    if (name === 'token_embd.weight') return 'Q5_0';
    if (/attn_output/.test(name)) return 'IQ4_XS';
    return /0\.(attn_v|ffn_down)/.test(name) ? 'Q6_K' : 'Q4_K';
  },
};

function ggufs(corpus: CorpusWriter): void {
  for (const name of foldersIn('gguf').filter(
    (folder) => !/quants|tokenizers|families/.test(folder),
  )) {
    corpus.copy(`gguf/${name}/model.gguf`, join(corpus.place('gguf', name), 'model.gguf'));
  }
  // The two families that read the most keys, one of them with transposed matrices.
  for (const name of ['gemma3', 'gpt2']) {
    corpus.copy(`gguf/families/${name}.gguf`, join(corpus.place('gguf', name), 'model.gguf'));
  }
  writeBlockGguf(corpus.place('gguf', 'blocks'), keptFormats);
  const split = corpus.place('gguf', 'llama-split');
  const parts = splitGguf(readFileSync(join(fixtures, 'gguf/llama/model.gguf')), 'model', 3);
  for (const [name, bytes] of Object.entries(parts)) writeFileSync(join(split, name), bytes);
}

/** Single files of tensors, for the readers alone. */
function readers(corpus: CorpusWriter): void {
  const samples = readdirSync(join(fixtures, 'torch'))
    .filter((name) => /\.(pt|safetensors)$/.test(name))
    .sort();
  for (const name of samples) {
    corpus.copy(`torch/${name}`, join(corpus.place('reader', name), name));
  }
  corpus.copy('gguf/quants/quants.gguf', join(corpus.place('reader', 'quants'), 'quants.gguf'));
}

function tokenizers(corpus: CorpusWriter): void {
  for (const name of foldersIn('tokenizers')) {
    corpus.copy(`tokenizers/${name}`, corpus.place('tokenizer', name));
  }
  for (const name of ['merges', 'pieces']) {
    const file = `${name}.gguf`;
    corpus.copy(`gguf/tokenizers/${file}`, join(corpus.place('tokenizer', name), file));
  }
  for (const name of ['bpe-symbols', 'bpe-rules-suffix', 'unigram-rules-suffix', 'bpe-identity']) {
    const file = join(corpus.place('tokenizer', name), 'tokenizer.model');
    corpus.copy(`sentencepiece/${name}.model`, file);
  }
  const sides = ['config', 'special_tokens_map', 'tokenizer_config'].map((name) => `${name}.json`);
  const copySides = (from: string, to: string, more: readonly string[]) => {
    const there = new Set(readdirSync(join(fixtures, from)));
    for (const file of [...sides, ...more]) {
      if (there.has(file)) corpus.copy(`${from}/${file}`, join(to, file));
    }
  };
  copySides('stories-opt', corpus.place('tokenizer', 'stories'), ['tokenizer.json']);
  copySides('stories-opt', corpus.place('tokenizer', 'stories-bpe'), ['vocab.json', 'merges.txt']);
  const bpe = corpus.place('tokenizer', 'opt-bpe');
  copySides('opt-variants/untied', bpe, ['vocab.json', 'merges.txt']);
}

/** Chat templates of published models. */
function templates(corpus: CorpusWriter): void {
  const names = readdirSync(join(fixtures, 'templates')).filter((name) => name.endsWith('.jinja'));
  for (const name of names.sort()) {
    const place = corpus.place('template', basename(name, '.jinja'));
    corpus.copy(`templates/${name}`, join(place, 'chat_template.jinja'));
  }
}

interface MadeModel {
  readonly from: string;
  readonly dtype: TargetFormat;
  /** Neurons of the tiles that FFNs are cut into. */
  readonly tile?: number;
  /** The manifest has the form of format version 2. */
  readonly version2?: boolean;
  /** Predictors are trained with this. */
  readonly train?: Partial<PredictTrainRequest>;
}

const madeModels: Readonly<Record<string, MadeModel>> = {
  predicted: { from: 'families/llama-relu', dtype: 'f16', train: { rank: 8 } },
  arranged: { from: 'opt-variants/pre-norm-f32', dtype: 'f32', train: { rank: 16, arrange: true } },
  magnitude: { from: 'families/llama-yarn', dtype: 'q8', train: { thresholdSparsity: 0.5 } },
  bare: { from: 'families/llama-relu', dtype: 'f16' },
  tiled: { from: 'families/llama-relu', dtype: 'f16', tile: 16 },
  version2: { from: 'families/llama-relu', dtype: 'f16', version2: true },
  quantised: { from: 'families/qwen3', dtype: 'q4' },
  experts: { from: 'families/qwen3-moe-apart', dtype: 'f16' },
  shared: { from: 'families/qwen2-moe', dtype: 'q8' },
  alibi: { from: 'families/falcon-rw', dtype: 'q8' },
  windows: { from: 'families/bamboo', dtype: 'bf16' },
  projected: { from: 'opt-variants/proj', dtype: 'f16' },
};

/** Model directories, and files that are used with one. */
async function models(corpus: CorpusWriter): Promise<void> {
  for (const [name, made] of Object.entries(madeModels)) {
    const { from, dtype, tile, train, version2 = false } = made;
    const output = corpus.place('model', name);
    const checkpoint = join(fixtures, from);
    const cut = tile === undefined ? {} : { tile };
    await convertCheckpoint({ checkpoint, output, dtype, dramBudget: roomyBudget, ...cut });
    if (version2) asVersion2(join(output, manifestFile));
    if (train !== undefined) await trainIn(output, { ...train, maxTokens: 512, epochs: 1 });
  }
  await convertCheckpoint({
    checkpoint: writeBlockGguf(corpus.place('gguf', 'blocks'), keptFormats),
    output: corpus.place('model', 'kept'),
    dramBudget: roomyBudget,
  });
  const bare = corpus.place('model', 'bare');
  const withModel = (route: Route, name = 'bare') => {
    const fixed = corpus.place(route, name, 'fixed');
    cpSync(bare, join(fixed, 'model'), { recursive: true });
    writeFileSync(join(fixed, 'text.txt'), text);
    return { fixed, subject: corpus.place(route, name) };
  };
  const published = { layers: 2, rank: 8, hidden: 32, neurons: 48 };
  writePublished(withModel('import').subject, published);

  for (const name of ['eval', 'prompt', 'train']) {
    const { subject } = withModel('text', name);
    writeFileSync(join(subject, 'text.txt'), text);
  }

  const { subject: cache } = withModel('profile');
  writeFileSync(join(cache, 'devices.json'), JSON.stringify({ [deviceMark]: profile }));

  const { fixed, subject } = withModel('leftover');
  await stoppedTraining(join(fixed, 'model'));
  const partial = join(fixed, 'model', 'predict-train.partial');
  cpSync(partial, subject, { recursive: true });
  rmSync(partial, { recursive: true });
}

/** Rewrites a manifest in the form that it had before FFNs were described as units. */
function asVersion2(path: string): void {
  const { ffns: _, ...document } = JSON.parse(readFileSync(path, 'utf8')) as ManifestDocument;
  writeFileSync(path, mended({ ...document, formatVersion: 2 }));
}

/** A placeholder for the device that a case runs on. */
export const deviceMark = '@device@';

const profile = {
  latencyMs: 0.2,
  bandwidth: 1e9,
  breakEvenGap: 16384,
  smallestPiece: 131072,
  largestRead: 1048576,
  depth: 32,
  direct: true,
  source: 'measured',
};

async function trainIn(dir: string, request: Partial<PredictTrainRequest>): Promise<void> {
  const model = await Model.open(dir, { predictors: false });
  try {
    const common = { budget: roomyBudget, documents: [text], corpus: 'text', threads: 1 };
    await predictTrain(model, { ...common, ...request });
  } finally {
    model.close();
  }
}

/** Trains until the first layer is done, which leaves the files of an interrupted run. */
async function stoppedTraining(dir: string): Promise<void> {
  const controller = new AbortController();
  const onProgress = (done: number) => {
    if (done > 0.5) controller.abort();
  };
  const request = { maxTokens: trainedTokens, epochs: 1, signal: controller.signal, onProgress };
  await trainIn(dir, request).catch((error: unknown) => {
    if (!(error instanceof InterruptedError)) throw error;
  });
}
