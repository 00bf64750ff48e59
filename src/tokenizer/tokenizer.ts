/** Converts text to ids and back, exactly like the model's own tokenizer. */

import { join } from 'node:path';
import { brief, readJsonFile } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { endsByName } from './end-tokens.ts';
import type { BpeTables } from './pipeline/bpe.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import type { TokenFiles } from './special-tokens.ts';
import { type TimeLimit, withinTime } from './time-limit.ts';
import type { CachedTokenizer } from './token-cache.ts';
import { exists, readTokenFiles } from './token-files.ts';
import {
  checkTokenizerJson,
  hasExpression,
  isTokenId,
  type TokenizerJson,
  tokenContent,
} from './tokenizer-json.ts';

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default: false. */
  readonly skipSpecial?: boolean;
}

export type EncodeOptions = Pick<TimeLimit, 'once'>;

/** Tokens from the model's configuration; they count if the tokenizer's files do not define them. */
export interface ModelTokens {
  /** `bos_token_id` of config.json. */
  readonly bosId?: number | null | undefined;
  /** `eos_token_id` of generation_config.json or config.json. */
  readonly eosIds?: readonly number[] | undefined;
  /** Rows of the embedding: larger ids are not valid input and are never generated. Default: no limit. */
  readonly vocabSize?: number | undefined;
}

export interface Tokenizer {
  /** The token that begins a sequence, if the model has one. */
  readonly bosId: number | undefined;
  /**
   * The tokens that end a sequence, ascending: those that the model's configuration names, the tokenizer's
   * own, and those of the vocabulary with the name of an end token.
   */
  readonly eosIds: readonly number[];
  /** The tokens that `encodePrompt` puts around every text. */
  readonly around: readonly number[];
  /** The texts of the tokens that have a role, such as `bos_token`. */
  readonly roles: ReadonlyMap<string, string>;
  /** One more than the largest id; there may be holes below. */
  readonly vocabularySize: number;
  /**
   * The ids of only `text`. Special tokens that are written out in the text become their ids.
   * @throws InputError when one has no row in the model's embedding
   */
  encode(text: string, options?: EncodeOptions): number[];
  /**
   * The ids of `text` with the special tokens that the model expects around it.
   * @throws InputError when one has no row in the model's embedding
   */
  encodePrompt(text: string, options?: EncodeOptions): number[];
  /** @throws InputError when one of `ids` has no row in the model's embedding */
  checkIds(ids: readonly number[]): void;
  /** The text of `ids`. Ids that have no token (the padding of a vocabulary) have no text. */
  decode(ids: readonly number[], options?: DecodeOptions): string;
  /** The bytes that an id adds to a text, which may be a part of a character; none for an id without token. */
  bytesOf(id: number): Uint8Array;
  /** Whether a token is a byte whose text depends on its neighbours, including those after it. */
  isByte(id: number): boolean;
  /** Whether `decode` skips the id. */
  isSilent(id: number, options?: DecodeOptions): boolean;
  /** Whether a token was added to the model's own vocabulary, special or not. */
  isAdded(id: number): boolean;
  /** The token at `id` of the vocabulary, as its files write it. */
  tokenOf(id: number): string | undefined;
  /** The id of the special token that is written `text`. */
  specialId(text: string): number | undefined;
}

/** A tokenizer, and the data that took time to derive from tokenizer.json. */
export interface BuiltTokenizer {
  readonly tokenizer: Tokenizer;
  /** Data to store for the next start; null if nothing is worth storing. */
  readonly kept: CachedTokenizer | null;
}

/**
 * The tokenizer of a model directory: tokenizer.json with the tokens that tokenizer_config.json,
 * special_tokens_map.json and added_tokens.json add to it.
 * @throws InputError when tokenizer.json is missing, damaged or of a kind that is unsupported.
 */
export async function loadTokenizer(dir: string, model: ModelTokens = {}): Promise<Tokenizer> {
  return (await buildTokenizer(dir, model)).tokenizer;
}

/** A tokenizer.json that was made from other files of a checkpoint. */
export interface MadeTokenizer {
  readonly json: TokenizerJson;
  /** One of these, for messages. */
  readonly file: string;
}

/**
 * The same, with the data that is worth storing.
 * @param made replaces tokenizer.json
 */
export async function buildTokenizer(
  dir: string,
  model: ModelTokens = {},
  made?: MadeTokenizer,
): Promise<BuiltTokenizer> {
  const file = join(dir, 'tokenizer.json');
  const files = await readTokenFiles(dir);
  if (made !== undefined) {
    return pipelineTokenizer({ ...made, files }, model);
  }
  if (!(await exists(file))) {
    throw new InputError(
      'there is no such file',
      { file },
      'A model needs its tokenizer; `flashllm convert` writes this file, if necessary from vocab.json and merges.txt or from tokenizer.model',
    );
  }
  // Only the pipeline refers to the parsed file, so that it can be garbage collected.
  return pipelineTokenizer(
    { json: checkTokenizerJson(await readJsonFile(file), file), file, files },
    model,
  );
}

/**
 * The tokenizer of a checked tokenizer.json.
 * @param source `file` is its path, for messages; `files` are the other files that describe tokens; `ready`
 * replaces its vocabulary and merges
 * @throws InputError when a part of it is not supported
 */
export function pipelineTokenizer(
  source: {
    readonly json: TokenizerJson;
    readonly file: string;
    readonly files: TokenFiles;
    readonly ready?: BpeTables;
  },
  model: ModelTokens,
): BuiltTokenizer {
  const { json, file, files, ready } = source;
  const pipeline = new Pipeline(json, file, files, ready);
  const limits = { file, limitsDecoding: hasExpression(json.decoder) };
  const tokenizer = new PipelineTokenizer(pipeline, limits, files, model);
  const { tables } = pipeline;
  return { tokenizer, kept: tables && { json: withoutTables(json), tables } };
}

/** A tokenizer.json without its large parts. */
function withoutTables(json: TokenizerJson): TokenizerJson {
  const { vocab: _vocab, merges: _merges, ...model } = json.model;
  return { ...json, model };
}

interface TokenizerFile {
  /** Path of tokenizer.json. */
  readonly file: string;
  /** Whether its decoder also has regular expressions. */
  readonly limitsDecoding: boolean;
}

class PipelineTokenizer implements Tokenizer {
  readonly bosId: number | undefined;
  readonly eosIds: readonly number[];
  readonly around: readonly number[];
  readonly roles: ReadonlyMap<string, string>;
  readonly vocabularySize: number;
  readonly #pipeline: Pipeline;
  readonly #source: TokenizerFile;
  readonly #rows: number;
  /** BOS, if the post-processor of the tokenizer does not add it. */
  readonly #prefix: readonly number[];
  /** Ids that precede another one, so that it is not the first. */
  #before: readonly number[] | null = null;

  constructor(
    pipeline: Pipeline,
    source: TokenizerFile,
    { config, tokensMap }: TokenFiles,
    model: ModelTokens,
  ) {
    this.#pipeline = pipeline;
    this.#source = source;
    this.#rows = model.vocabSize ?? Number.POSITIVE_INFINITY;
    this.vocabularySize = pipeline.size;
    this.roles = pipeline.roles;

    const idOfRole = (role: string): number | undefined => {
      const content = pipeline.roles.get(role) ?? tokenContent(tokensMap?.[role]);
      return content === undefined ? undefined : pipeline.idOf(content);
    };
    const { before, after } = this.#added();
    const [first] = before;
    this.bosId = first ?? idOfRole('bos_token') ?? checked(model.bosId);
    // Without a tokenizer_config.json, no file says whether BOS is added; models with a BOS token expect
    // it.
    const adds = first === undefined && (config === undefined || config.add_bos_token === true);
    this.#prefix = adds && this.bosId !== undefined ? [this.bosId] : [];
    this.around = [...this.#prefix, ...before, ...after];

    const named = [...(model.eosIds ?? []), idOfRole('eos_token')];
    const ends = new Set([...named, ...endsByName(addedOf(pipeline))]);
    this.eosIds = [...ends]
      .filter(isTokenId)
      .filter((id) => id < this.#rows)
      .sort((a, b) => a - b);
  }

  encode(text: string, { once = false }: EncodeOptions = {}): number[] {
    const ids = this.#encode(text, false, once);
    this.checkIds(ids);
    return ids;
  }

  encodePrompt(text: string, { once = false }: EncodeOptions = {}): number[] {
    const ids = this.#prefix.concat(this.#encode(text, true, once));
    // A model whose tokenizer adds no tokens still needs a first token.
    if (ids.length === 0 && this.bosId !== undefined) ids.push(this.bosId);
    this.checkIds(ids);
    return ids;
  }

  checkIds(ids: readonly number[]): void {
    const rows = this.#rows;
    const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= rows);
    if (strange === undefined) return;
    const text = this.decode([strange]);
    const always = this.around.includes(strange);
    const hint = always
      ? 'The tokenizer adds it to every text, so the tokenizer belongs to another model'
      : 'The tokenizer has this token, but the model does not: leave it out of the text';
    throw new InputError(
      `token id ${strange}${text === '' ? '' : ` (${brief(text)})`} is out of range ` +
        `(0 to ${rows - 1}): the model's embedding has ${rows} rows`,
      always ? { file: this.#source.file } : {},
      text === '' ? undefined : hint,
    );
  }

  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const spoken = ids.filter((id) => !this.isSilent(id, options));
    if (spoken.length === 0) return '';
    // The clean-up of spaces before punctuation is never applied: it would change the model's text, and the
    // text of a token would depend on later tokens.
    const work = () => this.#pipeline.decode(spoken);
    const { file, limitsDecoding } = this.#source;
    return limitsDecoding ? withinTime(work, { units: spoken.length, file }) : work();
  }

  bytesOf(id: number): Uint8Array {
    this.#before ??= this.#encode('a', false);
    const before = this.#before;
    const { file, limitsDecoding } = this.#source;
    const work = () => this.#pipeline.bytesOf(id, before);
    return limitsDecoding ? withinTime(work, { units: before.length + 1, file }) : work();
  }

  isByte(id: number): boolean {
    return this.#pipeline.isByte(id);
  }

  isSilent(id: number, { skipSpecial = false }: DecodeOptions = {}): boolean {
    if (skipSpecial && this.#pipeline.isSpecial(id)) return true;
    return this.#pipeline.tokenOf(id) === undefined;
  }

  isAdded(id: number): boolean {
    return this.#pipeline.addedTokens.has(id);
  }

  tokenOf(id: number): string | undefined {
    return this.#pipeline.tokenOf(id);
  }

  specialId(text: string): number | undefined {
    const id = this.#pipeline.idOf(text);
    return id !== undefined && this.#pipeline.isSpecial(id) ? id : undefined;
  }

  #encode(text: string, addSpecial: boolean, once = false): number[] {
    const work = () => this.#pipeline.encode(text, { addSpecial });
    return withinTime(work, { units: text.length, file: this.#source.file, once });
  }

  /** The special tokens that the post-processor puts before and after the text. */
  #added(): { readonly before: readonly number[]; readonly after: readonly number[] } {
    const plain = this.#encode('a', false);
    const whole = this.#encode('a', true);
    if (plain.length === 0) return { before: whole, after: [] };
    const start = whole.findIndex((_id, at) => plain.every((id, i) => whole[at + i] === id));
    if (start === -1) return { before: [], after: [] };
    return { before: whole.slice(0, start), after: whole.slice(start + plain.length) };
  }
}

function checked(id: number | null | undefined): number | undefined {
  return isTokenId(id) ? id : undefined;
}

/** The added tokens; those that the pipeline skips are special. */
function addedOf(pipeline: Pipeline) {
  return [...pipeline.addedTokens].map(([id, { content }]) => ({
    id,
    content,
    special: pipeline.isSpecial(id),
  }));
}
