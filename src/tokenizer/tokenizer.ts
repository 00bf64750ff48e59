/** Text to ids and back, as the model's own tokenizer does it. */

import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { isJsonObject, readJsonFile } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { buildLibrary, type Library } from './library.ts';
import { type TimeLimit, withinTime } from './time-limit.ts';
import { checkTokenizerJson, hasExpression, isTokenId, tokenContent } from './tokenizer-json.ts';

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default: false. */
  readonly skipSpecial?: boolean;
}

export type EncodeOptions = Pick<TimeLimit, 'once'>;

/** What the model's own configuration says; it counts where the tokenizer's files are silent. */
export interface ModelTokens {
  /** `bos_token_id` of config.json. */
  readonly bosId?: number | null | undefined;
  /** `eos_token_id` of generation_config.json or config.json. */
  readonly eosIds?: readonly number[] | undefined;
}

export interface Tokenizer {
  /** What begins a sequence, when the model has such a token. */
  readonly bosId: number | undefined;
  /** What ends a sequence: those of the model's configuration, else the tokenizer's own. */
  readonly eosIds: readonly number[];
  /** One more than the largest id; there may be holes below. */
  readonly vocabularySize: number;
  /** The ids of `text` alone. Special tokens that are written out in the text become their ids. */
  encode(text: string, options?: EncodeOptions): number[];
  /** The ids of `text` with the special tokens that the model expects around it. */
  encodePrompt(text: string, options?: EncodeOptions): number[];
  /** The text of `ids`. Ids that have no token (the padding of a vocabulary) have no text. */
  decode(ids: readonly number[], options?: DecodeOptions): string;
  /** True when `decode` passes over the id as if it were not there. */
  isSilent(id: number, options?: DecodeOptions): boolean;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * The tokenizer of a model directory: tokenizer.json, and tokenizer_config.json and
 * special_tokens_map.json where they exist.
 * @throws InputError when tokenizer.json is missing, damaged or of a kind that is unsupported.
 */
export async function loadTokenizer(dir: string, model: ModelTokens = {}): Promise<Tokenizer> {
  const file = join(dir, 'tokenizer.json');
  const config = await readOptionalObject(join(dir, 'tokenizer_config.json'));
  const tokensMap = await readOptionalObject(join(dir, 'special_tokens_map.json'));
  if (!(await exists(file))) {
    throw new InputError(
      'there is no such file',
      { file },
      'A model needs its tokenizer; `flashllm convert` writes this file, from vocab.json and merges.txt if need be',
    );
  }
  // The parsed file is nobody's but the library's builder, so that it can be collected.
  const json = checkTokenizerJson(await readJsonFile(file), file);
  const library = buildLibrary(json, config ?? {}, file);
  const source = { file, limitsDecoding: hasExpression(json.decoder) };
  return new LibraryTokenizer(library, source, config, tokensMap, model);
}

interface TokenizerFile {
  /** Path of tokenizer.json. */
  readonly file: string;
  /** Whether its decoder has regular expressions, too. */
  readonly limitsDecoding: boolean;
}

class LibraryTokenizer implements Tokenizer {
  readonly bosId: number | undefined;
  readonly eosIds: readonly number[];
  readonly vocabularySize: number;
  readonly #library: Library;
  readonly #source: TokenizerFile;
  readonly #specialIds: ReadonlySet<number>;
  /** BOS, when the tokenizer's post-processor leaves adding it to us. */
  readonly #prefix: readonly number[];

  constructor(
    library: Library,
    source: TokenizerFile,
    config: Json | undefined,
    tokensMap: Json | undefined,
    model: ModelTokens,
  ) {
    this.#library = library;
    this.#source = source;
    const added = library.get_added_tokens_decoder();
    const special = [...added].filter(([, token]) => token.special);
    this.#specialIds = new Set(special.map(([id]) => id));
    this.vocabularySize = largestIdOf(library) + 1;

    const idOfRole = (role: string): number | undefined => {
      const content = tokenContent(config?.[role]) ?? tokenContent(tokensMap?.[role]);
      return content === undefined ? undefined : library.token_to_id(content);
    };
    const [first] = this.#addedBefore();
    this.bosId = first ?? idOfRole('bos_token') ?? checked(model.bosId);
    // Without a tokenizer_config.json nobody says whether BOS is added; models with one expect it.
    const adds = first === undefined && (config === undefined || config.add_bos_token === true);
    this.#prefix = adds && this.bosId !== undefined ? [this.bosId] : [];

    const eosId = idOfRole('eos_token');
    const eosIds = model.eosIds?.length ? model.eosIds : eosId === undefined ? [] : [eosId];
    this.eosIds = eosIds.filter(isTokenId);
  }

  encode(text: string, { once = false }: EncodeOptions = {}): number[] {
    return this.#encode(text, false, once);
  }

  encodePrompt(text: string, { once = false }: EncodeOptions = {}): number[] {
    const ids = this.#encode(text, true, once);
    if (this.#prefix.length > 0) return this.#prefix.concat(ids);
    // A model whose tokenizer adds nothing still needs something to start from.
    return ids.length === 0 && this.bosId !== undefined ? [this.bosId] : ids;
  }

  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const spoken = ids.filter((id) => !this.isSilent(id, options));
    if (spoken.length === 0) return '';
    // The clean-up of blanks before punctuation is never applied: it would change the model's text,
    // and what a token looks like would depend on what comes after it.
    const work = () =>
      this.#library.decode(spoken, {
        skip_special_tokens: false,
        clean_up_tokenization_spaces: false,
      });
    const { file, limitsDecoding } = this.#source;
    return limitsDecoding ? withinTime(work, { units: spoken.length, file }) : work();
  }

  isSilent(id: number, { skipSpecial = false }: DecodeOptions = {}): boolean {
    if (skipSpecial && this.#specialIds.has(id)) return true;
    return this.#library.id_to_token(id) === undefined;
  }

  #encode(text: string, addSpecial: boolean, once = false): number[] {
    const work = () => this.#library.encode(text, { add_special_tokens: addSpecial });
    const limit = { units: text.length, file: this.#source.file, once };
    return withinTime(work, limit).ids.map((id) => {
      if (id !== undefined) return id;
      throw new InputError('the text cannot be expressed in the vocabulary of the tokenizer');
    });
  }

  /** The special tokens that the post-processor puts before the text. */
  #addedBefore(): number[] {
    const plain = this.#encode('a', false);
    const whole = this.#encode('a', true);
    const start = whole.findIndex((_id, at) => plain.every((id, i) => whole[at + i] === id));
    return whole.slice(0, plain.length === 0 ? whole.length : Math.max(start, 0));
  }
}

function largestIdOf(library: Library): number {
  let largest = -1;
  for (const id of library.model.tokens_to_ids.values()) largest = Math.max(largest, id);
  return largest;
}

function checked(id: number | null | undefined): number | undefined {
  return isTokenId(id) ? id : undefined;
}

/** The object in an optional JSON file; undefined when there is no such file. */
async function readOptionalObject(file: string): Promise<Json | undefined> {
  if (!(await exists(file))) return undefined;
  const json = await readJsonFile(file);
  if (!isJsonObject(json)) throw new InputError('is not a JSON object', { file });
  return json;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
