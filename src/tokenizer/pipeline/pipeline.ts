/**
 * Runs a tokenizer.json, with the same ids and texts as the reference implementation:
 *
 *     text -> added tokens -> normalizer -> pre-tokenizer -> model -> post-processor -> ids
 *     ids -> tokens -> decoder -> text
 *
 * Unknown components, and components with unknown options, are refused when the pipeline is built.
 */

import { dirname, join } from 'node:path';
import { brief, isJsonObject } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import { type SpecialTokens, specialTokensOf, type TokenFiles } from '../special-tokens.ts';
import { withinTime } from '../time-limit.ts';
import {
  type AddedToken,
  type Component,
  hasExpression,
  type TokenizerJson,
} from '../tokenizer-json.ts';
import { AddedTokenSplitter, AddedTokens } from './added-tokens.ts';
import type { BpeTables } from './bpe.ts';
import { buildModel } from './build-model.ts';
import { bytesOfToken } from './byte-level.ts';
import {
  byteOfToken,
  type Decoder,
  decoderOf,
  isByteLevel,
  isByteToken,
  joinsBytes,
} from './decoders.ts';
import type { Model } from './model.ts';
import { normalizerOf } from './normalizers.ts';
import { Part } from './part.ts';
import { type PostProcessor, postProcessorOf } from './post-processors.ts';
import { type PreTokenizer, preTokenizerOf } from './pre-tokenizers.ts';

export class Pipeline {
  readonly #model: Model;
  readonly #added: AddedTokens;
  readonly #splitter: AddedTokenSplitter;
  readonly #preTokenize: PreTokenizer | null;
  readonly #postProcess: PostProcessor | null;
  readonly #decode: Decoder | null;
  readonly #joinsBytes: boolean;
  readonly #isByteLevel: boolean;
  /** The tokens with a role, `eos_token`, by content. */
  readonly roles: SpecialTokens['roles'];

  /**
   * @param files the other files that describe tokens
   * @param file the path of tokenizer.json, for messages
   * @param ready for BPE, replaces the vocabulary and merges of the JSON
   * @throws InputError when a part is not supported
   */
  constructor(json: TokenizerJson, file: string, files: TokenFiles = {}, ready?: BpeTables) {
    const part = <T>(
      name: 'normalizer' | 'pre_tokenizer' | 'post_processor' | 'decoder',
      build: (part: Part) => T,
    ) => {
      const component = json[name];
      return component === null ? null : build(new Part(component, name, file));
    };
    const normalize = part('normalizer', normalizerOf);
    checkStart(json, file);
    this.#preTokenize = part('pre_tokenizer', preTokenizerOf);
    this.#postProcess = part('post_processor', postProcessorOf);
    this.#decode = part('decoder', decoderOf);
    this.#joinsBytes = joinsBytes(json.decoder);
    this.#isByteLevel = isByteLevel(json.decoder);
    this.#model = buildModel(json.model, file, ready);
    this.#added = new AddedTokens(this.#model.vocabulary, file);
    this.#added.add(json.added_tokens);
    const { added, roles } = specialTokensOf(
      files,
      json.added_tokens,
      join(dirname(file), 'tokenizer_config.json'),
    );
    this.#added.add(added);
    this.roles = roles;
    const build = () =>
      new AddedTokenSplitter(this.#added, normalize, {
        splitSpecial: files.config?.split_special_tokens === true,
        // SentencePiece would normalize a token to one with a space in front.
        raw: json.normalizer?.type === 'SentencePiece',
        file,
      });
    // Added tokens are normalized, with regular expressions from the file.
    const units = [...this.#added.byId.values()].reduce(
      (sum, { content }) => sum + content.length,
      0,
    );
    this.#splitter = hasExpression(json.normalizer) ? withinTime(build, { units, file }) : build();
  }

  /** The large parts of a BPE model; null for other models. */
  get tables(): BpeTables | null {
    const { vocabulary, merges } = this.#model;
    return merges === undefined ? null : { vocabulary, merges };
  }

  /** The added tokens by id. */
  get addedTokens(): ReadonlyMap<number, AddedToken> {
    return this.#added.byId;
  }

  /** One more than the largest id. */
  get size(): number {
    let { size } = this.#model.vocabulary;
    for (const id of this.#added.byId.keys()) size = Math.max(size, id + 1);
    return size;
  }

  /** The ids of `text`, on request with the tokens that the post-processor adds around it. */
  encode(text: string, { addSpecial }: { readonly addSpecial: boolean }): number[] {
    const ids: number[] = [];
    // Half of a surrogate pair is not a character.
    this.#splitter.split(text.replace(/\p{Surrogate}/gu, '\ufffd'), {
      token: (id) => ids.push(id),
      text: (part, atStart) => this.#encodeText(part, atStart, ids),
    });
    return this.#postProcess === null ? ids : this.#postProcess(ids, addSpecial);
  }

  /** The text of `ids`; ids without a token are skipped. */
  decode(ids: readonly number[]): string {
    const tokens = ids.flatMap((id) => this.tokenOf(id) ?? []);
    if (tokens.length === 0) return '';
    return this.#decode === null ? tokens.join(' ') : this.#decode(tokens).join('');
  }

  idOf(token: string): number | undefined {
    return this.#added.idOf(token) ?? this.#model.vocabulary.idOf(token);
  }

  /** The token of an id, as decoders see it. */
  tokenOf(id: number): string | undefined {
    return this.#splitter.textOf(id) ?? this.#model.vocabulary.tokenOf(id);
  }

  isSpecial(id: number): boolean {
    const token = this.tokenOf(id);
    return token !== undefined && this.#added.isSpecial(token);
  }

  /**
   * Whether a token's text depends on the tokens after it: such tokens are bytes, and a run of bytes is
   * valid text as a whole or not at all.
   */
  isByte(id: number): boolean {
    return this.#joinsBytes && isByteToken(this.tokenOf(id) ?? '');
  }

  /**
   * The bytes that a token adds to a text.
   * @param before ids with a text, so that the token is not the first
   */
  bytesOf(id: number, before: readonly number[]): Uint8Array {
    const token = this.tokenOf(id);
    if (token === undefined) return new Uint8Array(0);
    if (this.#isByteLevel) return Uint8Array.from(bytesOfToken(token));
    const byte = this.#joinsBytes ? byteOfToken(token) : undefined;
    if (byte !== undefined) return Uint8Array.of(byte);
    const text = this.decode([...before, id]).slice(this.decode(before).length);
    return new TextEncoder().encode(text);
  }

  #encodeText(text: string, atStart: boolean, ids: number[]): void {
    if (this.#preTokenize === null) this.#model.tokenize(text, ids);
    else this.#preTokenize(text, atStart, (word) => this.#model.tokenize(word, ids));
  }
}

/**
 * Metaspace with the scheme "first" needs the position of a word before normalization. It is known if the
 * normalizer keeps the beginning of the text at the beginning.
 */
function checkStart({ normalizer, pre_tokenizer }: TokenizerJson, file: string): void {
  const steps = stepsOf(pre_tokenizer, 'pretokenizers');
  const at = steps.findIndex(
    ({ type, prepend_scheme }) => type === 'Metaspace' && prepend_scheme === 'first',
  );
  if (at < 0) return;
  const kept = at === 0 ? keepsStart : keepsCharacters;
  const moving = stepsOf(normalizer, 'normalizers').find((step) => !kept(step));
  if (moving === undefined) return;
  throw new InputError(
    `pre_tokenizer: Metaspace with the 'prepend_scheme' first is not supported ${at === 0 ? 'with' : 'after another pre-tokenizer and with'} the normalizer ${brief(moving)}`,
    { file },
  );
}

const normalForms = ['NFC', 'NFD', 'NFKC', 'NFKD'];

function keepsStart({ type, pattern, content }: Component): boolean {
  if ([...normalForms, 'Lowercase', 'Prepend'].includes(type)) return true;
  const text = isJsonObject(pattern) ? pattern.String : undefined;
  return type === 'Replace' && typeof text === 'string' && [...text].length === 1 && content !== '';
}

function keepsCharacters({ type }: Component): boolean {
  return type === 'NFC';
}

/** The components of a sequence, or the single component. */
function stepsOf(component: unknown, list: string): readonly Component[] {
  if (!isJsonObject(component)) return [];
  const parts = component[list];
  if (component.type !== 'Sequence' || !Array.isArray(parts)) return [component as Component];
  return parts.flatMap((part: unknown) => stepsOf(part, list));
}
