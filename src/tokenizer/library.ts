/**
 * `@huggingface/tokenizers` behind a narrow door. Its version is pinned, because four things are
 * mended in what it builds:
 *
 * - The byte-level split uses JavaScript's `\s`, which takes U+FEFF for a blank and U+0085 for none.
 *   The reference implementation has it the other way round, by the Unicode property.
 * - Bytes that become text lose a U+FEFF that begins them: it is taken for a byte order mark.
 * - The merges of a BPE model become a compact table (see merge-ranks.ts).
 * - The parsed tokenizer.json is let go of. For GPT-2's vocabulary, this and the table together
 *   bring what loading costs from 65 MB of resident memory to 43, and the live heap from 23 MB to 7.
 */

import { Tokenizer } from '@huggingface/tokenizers';
import { brief } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { MergeRanks } from './merge-ranks.ts';
import { withinTime } from './time-limit.ts';
import { type Component, hasExpression, type TokenizerJson } from './tokenizer-json.ts';

/** What is used of the library. Its own types do not resolve under Node's rules for modules. */
export interface Library {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): {
    /** A token that has no id gives undefined. */
    readonly ids: readonly (number | undefined)[];
  };
  decode(
    ids: readonly number[],
    options: {
      readonly skip_special_tokens: boolean;
      readonly clean_up_tokenization_spaces: boolean;
    },
  ): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_added_tokens_decoder(): ReadonlyMap<number, { readonly special: boolean }>;
  readonly model: { readonly tokens_to_ids: ReadonlyMap<string, number> };
}

/** What is changed in the library's objects. */
interface LibraryInternals extends Library {
  tokenizer: unknown;
  readonly pre_tokenizer: PreTokenizer | null;
  readonly decoder: Decoder | null;
  readonly model: BpeModel;
}
interface Decoder {
  /** Of those that make text of bytes. */
  text_decoder?: unknown;
  /** Of a Sequence: its parts. */
  readonly decoders?: readonly (Decoder | null)[];
}
interface PreTokenizer {
  /** Of a ByteLevel: the split. */
  pattern?: RegExp;
  /** Of a Sequence: its parts. */
  readonly tokenizers?: readonly (PreTokenizer | null)[];
}
interface BpeModel {
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  config: unknown;
  add_node(queue: { push(node: MergeNode): void }, node: MergeNode): void;
}

/** A link in the chain of parts that the library's BPE merges; queued by score when it may merge. */
interface MergeNode {
  readonly token: string;
  readonly bias: number;
  readonly next: MergeNode;
  score: number;
}

/** GPT-2's split into words, with blanks as Unicode defines them. */
const byteLevelSplit =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/**
 * The library's tokenizer for a checked tokenizer.json.
 * @param config tokenizer_config.json, or an empty object.
 * @throws InputError when the library does not support a part of it.
 */
export function buildLibrary(
  json: TokenizerJson,
  config: Readonly<Record<string, unknown>>,
  file: string,
): Library {
  const isBpe = json.model.type === 'BPE';
  const merges = isBpe ? (json.model.merges as readonly unknown[]) : [];
  const model = isBpe ? { ...json.model, merges: [] } : json.model;
  let library: LibraryInternals;
  try {
    tryNormalizer(json, file);
    library = new Tokenizer({ ...json, model }, config) as LibraryInternals;
  } catch (error) {
    if (error instanceof InputError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(`unsupported tokenizer: ${reason}`, { file }, undefined, { cause: error });
  }
  mendSplit(library.pre_tokenizer, json.pre_tokenizer);
  mendDecoder(library.decoder);
  if (isBpe) {
    installMerges(library.model, merges, file);
    library.model.config = { type: 'BPE' };
  }
  library.tokenizer = null;
  return library;
}

/**
 * Added tokens are normalized while the library is built, by expressions of the file. They are tried
 * with a vocabulary of nothing else, as building a large one takes a time that is not theirs.
 * @throws InputError when they do not end
 */
function tryNormalizer({ normalizer, added_tokens, ...json }: TokenizerJson, file: string): void {
  const normalized = added_tokens.filter((token) => token.normalized);
  if (normalized.length === 0 || !hasExpression(normalizer)) return;
  const parts = { ...json, pre_tokenizer: null, post_processor: null, decoder: null };
  const model = { type: 'BPE', vocab: {}, merges: [] };
  const units = normalized.reduce((sum, { content }) => sum + content.length, 0);
  const build = () => new Tokenizer({ ...parts, normalizer, added_tokens: normalized, model }, {});
  withinTime(build, { units, file });
}

/** Replaces the split of every byte-level pre-tokenizer. */
function mendSplit(preTokenizer: PreTokenizer | null, component: Component | null): void {
  if (preTokenizer === null || component === null) return;
  if (component.type === 'ByteLevel') preTokenizer.pattern = byteLevelSplit;
  const parts = (component.pretokenizers ?? []) as readonly (Component | null)[];
  preTokenizer.tokenizers?.forEach((part, at) => {
    mendSplit(part, parts[at] ?? null);
  });
}

/** Has every decoder of bytes keep U+FEFF. */
function mendDecoder(decoder: Decoder | null): void {
  if (decoder === null) return;
  if (decoder.text_decoder !== undefined)
    decoder.text_decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  decoder.decoders?.forEach(mendDecoder);
}

/** Gives the model its merges, of the form "a b" or ["a", "b"], the best first. */
function installMerges(model: BpeModel, merges: readonly unknown[], file: string): void {
  const idOf = model.tokens_to_ids;
  const ranks = new MergeRanks(merges.length);
  for (const [rank, merge] of merges.entries()) {
    const [left, right] = pairOf(merge);
    const leftId = idOf.get(left);
    const rightId = idOf.get(right);
    if (leftId === undefined || rightId === undefined || !idOf.has(left + right)) {
      throw new InputError(`merge ${rank} does not fit the vocabulary: ${brief(merge)}`, { file });
    }
    ranks.set(leftId, rightId, rank);
  }
  model.add_node = (queue, node) => {
    const left = idOf.get(node.token);
    const right = idOf.get(node.next.token);
    if (left === undefined || right === undefined) return;
    const rank = ranks.get(left, right);
    if (rank === undefined) return;
    // The bias, below one, breaks ties between equal ranks by position.
    node.score = rank + node.bias;
    queue.push(node);
  };
}

function pairOf(merge: unknown): [left: string, right: string] {
  const parts: readonly unknown[] =
    typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
  const [left, right] = parts;
  if (parts.length !== 2 || typeof left !== 'string' || typeof right !== 'string') return ['', ''];
  return [left, right];
}
