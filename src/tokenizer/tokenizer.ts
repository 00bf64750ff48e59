/** Text to ids and back, as the model's own tokenizer does it. */

import { join } from 'node:path';
import { readJsonFile } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import type { TokenFiles } from './special-tokens.ts';
import { exists, readTokenFiles } from './token-files.ts';
import { checkTokenizerJson, isTokenId, tokenContent } from './tokenizer-json.ts';

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default: false. */
  readonly skipSpecial?: boolean;
}

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
  encode(text: string): number[];
  /** The ids of `text` with the special tokens that the model expects around it. */
  encodePrompt(text: string): number[];
  /** The text of `ids`. Ids that have no token (the padding of a vocabulary) have no text. */
  decode(ids: readonly number[], options?: DecodeOptions): string;
  /** True for a byte that has a text together with its neighbours alone, those after it included. */
  isByte(id: number): boolean;
  /** True when `decode` passes over the id as if it were not there. */
  isSilent(id: number, options?: DecodeOptions): boolean;
}

/**
 * The tokenizer of a model directory: tokenizer.json with the tokens that tokenizer_config.json,
 * special_tokens_map.json and added_tokens.json add to it.
 * @throws InputError when tokenizer.json is missing, damaged or of a kind that is unsupported.
 */
export async function loadTokenizer(dir: string, model: ModelTokens = {}): Promise<Tokenizer> {
  const file = join(dir, 'tokenizer.json');
  const files = await readTokenFiles(dir);
  if (!(await exists(file))) {
    throw new InputError(
      'there is no such file',
      { file },
      'A model needs its tokenizer; `flashllm convert` writes this file, from vocab.json and merges.txt if need be',
    );
  }
  // The parsed file is nobody's but the pipeline's, so that it can be collected.
  const pipeline = new Pipeline(checkTokenizerJson(await readJsonFile(file), file), file, files);
  return new PipelineTokenizer(pipeline, files, model);
}

class PipelineTokenizer implements Tokenizer {
  readonly bosId: number | undefined;
  readonly eosIds: readonly number[];
  readonly vocabularySize: number;
  readonly #pipeline: Pipeline;
  /** BOS, when the tokenizer's post-processor leaves adding it to us. */
  readonly #prefix: readonly number[];

  constructor(pipeline: Pipeline, { config, tokensMap }: TokenFiles, model: ModelTokens) {
    this.#pipeline = pipeline;
    this.vocabularySize = pipeline.size;

    const idOfRole = (role: string): number | undefined => {
      const content = pipeline.roles.get(role) ?? tokenContent(tokensMap?.[role]);
      return content === undefined ? undefined : pipeline.idOf(content);
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

  encode(text: string): number[] {
    return this.#pipeline.encode(text, { addSpecial: false });
  }

  encodePrompt(text: string): number[] {
    const ids = this.#pipeline.encode(text, { addSpecial: true });
    if (this.#prefix.length > 0) return this.#prefix.concat(ids);
    // A model whose tokenizer adds nothing still needs something to start from.
    return ids.length === 0 && this.bosId !== undefined ? [this.bosId] : ids;
  }

  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const spoken = ids.filter((id) => !this.isSilent(id, options));
    if (spoken.length === 0) return '';
    // The clean-up of blanks before punctuation is never applied: it would change the model's text,
    // and what a token looks like would depend on what comes after it.
    return this.#pipeline.decode(spoken);
  }

  isByte(id: number): boolean {
    return this.#pipeline.isByte(id);
  }

  isSilent(id: number, { skipSpecial = false }: DecodeOptions = {}): boolean {
    if (skipSpecial && this.#pipeline.isSpecial(id)) return true;
    return this.#pipeline.tokenOf(id) === undefined;
  }

  /** The special tokens that the post-processor puts before the text. */
  #addedBefore(): number[] {
    const plain = this.#pipeline.encode('a', { addSpecial: false });
    const whole = this.#pipeline.encode('a', { addSpecial: true });
    const start = whole.findIndex((_id, at) => plain.every((id, i) => whole[at + i] === id));
    return whole.slice(0, plain.length === 0 ? whole.length : Math.max(start, 0));
  }
}

function checked(id: number | null | undefined): number | undefined {
  return isTokenId(id) ? id : undefined;
}
