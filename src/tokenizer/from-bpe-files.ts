/**
 * A tokenizer.json for checkpoints that have only the older pair of files, vocab.json and merges.txt:
 * byte-level BPE, according to the tokenizer class that the checkpoint names.
 */

import { join } from 'node:path';
import { fileError } from '../checkpoint/file.ts';
import { brief, readJsonFile } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { readRegular } from '../regular-file.ts';
import { type BpeClass, bpeClassOf, gpt2Class } from './bpe-classes.ts';
import { AddedTokens } from './pipeline/added-tokens.ts';
import { versionLine } from './pipeline/merges.ts';
import { pairsOf, Vocabulary } from './pipeline/vocabulary.ts';
import { surround } from './post-processor.ts';
import { specialTokensOf, type TokenFiles } from './special-tokens.ts';
import { readOptionalObject, readTokenFiles } from './token-files.ts';
import { type Component, checkVocabulary, type TokenizerJson } from './tokenizer-json.ts';

/** The names of the files in messages. */
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

/**
 * The tokenizer.json of a checkpoint directory that has vocab.json and merges.txt.
 * @throws InputError when one of them is missing or damaged, or the tokenizer class is unknown.
 */
export async function readBpeFiles(dir: string): Promise<TokenizerJson> {
  const names: BpeFileNames = {
    vocab: join(dir, plainNames.vocab),
    merges: join(dir, plainNames.merges),
    config: join(dir, plainNames.config),
  };
  const vocab = await readJsonFile(names.vocab);
  const merges = await readMerges(names.merges);
  const files = await readTokenFiles(dir);
  const kind = bpeClassOf(files.config, await readOptionalObject(join(dir, 'config.json')), dir);
  return tokenizerJsonFromBpe(vocab, merges, files, kind, names);
}

/**
 * The tokenizer.json of a byte-level BPE model.
 * @param vocab the parsed vocab.json, `{token: id}`; ids may have holes.
 * @param merges the text of merges.txt: one pair per line, the best first; the first line may be a version.
 * @param files the other files that describe tokens.
 * @param kind the tokenizer class; by default GPT-2's.
 * @throws InputError when the parts do not fit together.
 */
export function tokenizerJsonFromBpe(
  vocab: unknown,
  merges: string,
  files: TokenFiles = {},
  kind: BpeClass = gpt2Class,
  names: BpeFileNames = plainNames,
): TokenizerJson {
  checkVocabulary(vocab, names.vocab);
  const vocabulary = new Vocabulary(pairsOf(vocab));
  const added = new AddedTokens(vocabulary, names.vocab);
  // A token that no file names does not get a new id if that id would belong to another token.
  const hasHoles = vocabulary.size > vocabulary.count;
  const usual = Object.entries(kind.roles).filter(
    ([, content]) => !hasHoles || vocabulary.idOf(content) !== undefined,
  );
  const defaults = Object.fromEntries(usual);
  const { added: tokens, roles } = specialTokensOf(files, [], names.config, defaults);
  added.add(tokens);
  if (kind.plainRoles) {
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    added.add([...roles.values()].map((content) => ({ content, ...flags, special: true })));
  }
  const config = files.config ?? {};
  const special = (role: string, wanted: boolean) => {
    const content = roles.get(role);
    const id = content === undefined ? undefined : added.idOf(content);
    return wanted && content !== undefined && id !== undefined ? { content, id } : undefined;
  };
  return byteLevelJson(
    {
      added_tokens: [...added.byId.values()].sort((a, b) => a.id - b.id),
      normalizer: kind.normalizer,
      pre_tokenizer: kind.preTokenizer(config.add_prefix_space === true),
      post_processor: kind.enclosed
        ? surround(special('cls_token', true), special('sep_token', true))
        : surround(
            special('bos_token', config.add_bos_token === true),
            special('eos_token', config.add_eos_token === true),
          ),
    },
    { ignore_merges: false, vocab, merges: parseMerges(merges, vocab, names.merges) },
  );
}

type Surroundings = Pick<
  TokenizerJson,
  'added_tokens' | 'normalizer' | 'pre_tokenizer' | 'post_processor'
>;

/** The tokenizer.json of a byte-level BPE model. */
export function byteLevelJson(
  parts: Surroundings,
  model: Readonly<Record<string, unknown>>,
): TokenizerJson {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    ...parts,
    decoder: byteLevelDecoder,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ...model,
    },
  };
}

const byteLevelDecoder: Component = {
  type: 'ByteLevel',
  add_prefix_space: true,
  trim_offsets: true,
  use_regex: true,
};

/** The lines of merges.txt, checked: each is two tokens that, joined, are a third. */
function parseMerges(
  text: string,
  vocab: Readonly<Record<string, number>>,
  file: string,
): string[] {
  const merges: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    // The reference also treats every such line as a comment.
    if (line === '' || line.startsWith(versionLine)) continue;
    const problem = mergeProblem(line, (token) => Object.hasOwn(vocab, token));
    if (problem !== null) throw new InputError(`line ${index + 1} ${problem}`, { file }, sameModel);
    merges.push(line);
  }
  return merges;
}

/** The reason why `line` is not a merge (two tokens that, joined, are a third), or null. */
export function mergeProblem(line: string, has: (token: string) => boolean): string | null {
  const [left = '', right = '', ...rest] = line.split(' ');
  if (left === '' || right === '' || rest.length > 0) return `is not two tokens: ${brief(line)}`;
  const missing = [left, right, left + right].find((token) => !has(token));
  return missing === undefined
    ? null
    : `needs the token ${brief(missing)}, which the vocabulary does not have`;
}

const sameModel = 'vocab.json and merges.txt must come from the same checkpoint';

/** More than the merges of any vocabulary; bytes. */
const longestMerges = 64 * 2 ** 20;

async function readMerges(file: string): Promise<string> {
  const bytes = await readRegular(file, longestMerges).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw fileError(error, file, 'reading');
    throw new InputError('there is no such file', { file }, 'vocab.json needs it');
  });
  return bytes.toString('utf8');
}
