/**
 * A tokenizer.json for checkpoints that have only the older pair of files, vocab.json and merges.txt
 * (the real OPT checkpoints): byte-level BPE as transformers' GPT2Tokenizer does it.
 */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../checkpoint/file.ts';
import { brief, isJsonObject, readJsonFile } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { readRegular } from '../regular-file.ts';
import { surround } from './post-processor.ts';
import {
  type AddedToken,
  type Component,
  checkVocabulary,
  isTokenId,
  type TokenizerJson,
  tokenContent,
} from './tokenizer-json.ts';

type Json = Readonly<Record<string, unknown>>;
type Vocabulary = Readonly<Record<string, number>>;

/** What the files are called in messages. */
export interface BpeFileNames {
  readonly vocab: string;
  readonly merges: string;
  readonly config: string;
}

const plainNames: BpeFileNames = {
  vocab: 'vocab.json',
  merges: 'merges.txt',
  config: 'tokenizer_config.json',
};

/** Keys of tokenizer_config.json and special_tokens_map.json that name one special token. */
const roles = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const;

/** What GPT2Tokenizer takes for BOS, EOS and unknown when nothing is said. */
const defaultSpecial = '<|endoftext|>';

/**
 * The tokenizer.json of a checkpoint directory that has vocab.json and merges.txt.
 * @throws InputError when one of them is missing or damaged.
 */
export async function readBpeFiles(dir: string): Promise<TokenizerJson> {
  const names: BpeFileNames = {
    vocab: join(dir, plainNames.vocab),
    merges: join(dir, plainNames.merges),
    config: join(dir, plainNames.config),
  };
  const vocab = await readJsonFile(names.vocab);
  const merges = await readMerges(names.merges);
  const config = await readOptional(names.config);
  const tokensMap = await readOptional(join(dir, 'special_tokens_map.json'));
  return tokenizerJsonFromBpe(vocab, merges, config, tokensMap, names);
}

/**
 * The tokenizer.json of a byte-level BPE model.
 * @param vocab the parsed vocab.json, `{token: id}`; ids may have holes.
 * @param merges the text of merges.txt: a pair a line, the best first; the first line may be a version.
 * @param config the parsed tokenizer_config.json, if there is one.
 * @param tokensMap the parsed special_tokens_map.json, if there is one.
 * @throws InputError when the parts do not fit together.
 */
export function tokenizerJsonFromBpe(
  vocab: unknown,
  merges: string,
  config?: unknown,
  tokensMap?: unknown,
  names: BpeFileNames = plainNames,
): TokenizerJson {
  checkVocabulary(vocab, names.vocab);
  if (config !== undefined && !isJsonObject(config)) {
    throw new InputError('is not a JSON object', { file: names.config });
  }
  const sources = [config, tokensMap].filter((source) => isJsonObject(source));
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocab, sources, names.config),
    normalizer: null,
    pre_tokenizer: {
      type: 'ByteLevel',
      add_prefix_space: config?.add_prefix_space === true,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: postProcessor(vocab, config, sources, names.config),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: parseMerges(merges, vocab, names.merges),
    },
  };
}

/** The lines of merges.txt, checked: two tokens each that, joined, are a third. */
function parseMerges(text: string, vocab: Vocabulary, file: string): string[] {
  const merges: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (line === '' || (index === 0 && line.startsWith('#version'))) continue;
    const [left = '', right = '', ...rest] = line.split(' ');
    if (left === '' || right === '' || rest.length > 0) {
      throw new InputError(`line ${index + 1} is not two tokens: ${brief(line)}`, { file });
    }
    const missing = [left, right, left + right].find((token) => !Object.hasOwn(vocab, token));
    if (missing !== undefined) {
      throw new InputError(
        `line ${index + 1} needs the token ${brief(missing)}, which the vocabulary does not have`,
        { file },
        'vocab.json and merges.txt must come from the same checkpoint',
      );
    }
    merges.push(line);
  }
  return merges;
}

/** The special tokens by id. A later mention of the same token does not replace an earlier one. */
function addedTokens(vocab: Vocabulary, sources: readonly Json[], file: string): AddedToken[] {
  const tokens = new Map<number, AddedToken>();
  const add = (id: number, value: unknown, special: boolean): void => {
    const content = tokenContent(value);
    if (content === undefined || content === '' || tokens.has(id)) return;
    const own = Object.hasOwn(vocab, content) ? vocab[content] : undefined;
    if (own !== undefined && own !== id) {
      throw new InputError(`token ${brief(content)} has id ${id}, in the vocabulary ${own}`, {
        file,
      });
    }
    const flags = isJsonObject(value) ? value : {};
    tokens.set(id, {
      id,
      content,
      single_word: flags.single_word === true,
      lstrip: flags.lstrip === true,
      rstrip: flags.rstrip === true,
      normalized: flags.normalized === true,
      special,
    });
  };
  for (const source of sources) {
    for (const [key, value] of Object.entries(asObject(source.added_tokens_decoder))) {
      const id = Number(key);
      if (!isTokenId(id)) throw new InputError(`an added token has the id ${brief(key)}`, { file });
      add(id, value, !isJsonObject(value) || value.special !== false);
    }
  }
  const named: unknown[] = sources.flatMap((source) => [
    ...roles.map((role) => source[role]),
    ...(Array.isArray(source.additional_special_tokens) ? source.additional_special_tokens : []),
  ]);
  if (!named.some((value) => tokenContent(value) !== undefined)) named.push(defaultSpecial);
  for (const value of named) {
    // Names that the vocabulary does not have would need rows that the model does not have.
    const content = tokenContent(value);
    if (content === undefined || !Object.hasOwn(vocab, content)) continue;
    add(vocab[content] as number, value, true);
  }
  return [...tokens.values()].sort((a, b) => a.id - b.id);
}

/** Puts BOS before the text when the configuration wants it. */
function postProcessor(
  vocab: Vocabulary,
  config: Json | undefined,
  sources: readonly Json[],
  file: string,
): Component | null {
  if (config?.add_bos_token !== true) return null;
  const bos =
    sources.map((source) => tokenContent(source.bos_token)).find((name) => name !== undefined) ??
    defaultSpecial;
  const id = Object.hasOwn(vocab, bos) ? vocab[bos] : undefined;
  if (id === undefined) {
    throw new InputError(
      `'add_bos_token' is set, but the vocabulary does not have the token ${brief(bos)}`,
      { file },
    );
  }
  return surround({ content: bos, id }, undefined);
}

function asObject(value: unknown): Json {
  return isJsonObject(value) ? value : {};
}

/** More than the merges of any vocabulary; bytes. */
const longestMerges = 64 * 2 ** 20;

async function readMerges(file: string): Promise<string> {
  const bytes = await readRegular(file, longestMerges).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw fileError(error, file, 'reading');
    throw new InputError('there is no such file', { file }, 'vocab.json needs it');
  });
  return bytes.toString('utf8');
}

/** The parsed content of a JSON file; undefined when there is no such file. */
async function readOptional(file: string): Promise<unknown> {
  const found = await stat(file).catch(() => null);
  return found === null ? undefined : readJsonFile(file);
}
