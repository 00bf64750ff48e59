/** The tokenizer files of a model directory, from the metadata of a GGUF file. */

import { brief } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import {
  type PreTokenizer,
  preTokenizers,
  tokenizerModels,
} from '../models/gguf/pre-tokenizers.ts';
import { endingRoles, specialTokenId } from '../models/gguf/special-tokens.ts';
import { TextList } from '../text-list.ts';
import { gpt2Class } from './bpe-classes.ts';
import { byteLevelJson } from './from-bpe-files.ts';
import { bpeTablesOf, tokenizerBytes } from './gguf-bpe.ts';
import type { BpeTables } from './pipeline/bpe.ts';
import { surround } from './post-processor.ts';
import { pieceKind, specialPieces, tokenizerJsonFromPieces } from './sentencepiece/pieces-json.ts';
import type { Component, TokenizerJson } from './tokenizer-json.ts';

/** Metadata by key, as in the file, unchecked. */
type Metadata = ReadonlyMap<string, unknown>;

export interface GgufTokenizer {
  /** A tokenizer.json; without vocabulary and merges if `tables` has them. */
  readonly json: TokenizerJson;
  readonly tables: BpeTables | null;
  /** The complete content of tokenizer.json. */
  readonly bytes: () => Buffer;
  /** The content of tokenizer_config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The end tokens that the metadata names. */
  readonly eosIds: readonly number[];
}

interface Made extends Pick<GgufTokenizer, 'json' | 'tables' | 'bytes'> {
  readonly has: (token: string) => boolean;
}

const prefix = 'tokenizer.ggml.';
/** The key for the kind of tokenizer; without it, the file has no tokenizer. */
export const tokenizerModelKey = `${prefix}model`;

/**
 * The tokenizer in the metadata of `file`.
 * @throws InputError when there is none, it is incomplete, or of an unsupported kind
 */
export function tokenizerFromGguf(metadata: Metadata, file: string): GgufTokenizer {
  const name = metadata.get(tokenizerModelKey);
  const kind = typeof name === 'string' ? tokenizerModels.get(name) : undefined;
  if (kind === undefined) {
    throw new InputError(
      name === undefined ? 'the file holds no tokenizer' : `unsupported tokenizer ${brief(name)}`,
      { file },
      `Supported: ${[...tokenizerModels].map(([known, what]) => `${known} (${what})`).join(', ')}`,
    );
  }
  const parts = new TokenizerParts(metadata, file);
  const { has, ...made } = kind === 'SentencePiece' ? fromPieces(parts) : fromMerges(parts, file);
  const special = (role: string, key: string) => {
    const content = parts.special(role)?.content;
    // Padding of the vocabulary is not a token, whatever role it has.
    return content === undefined || !has(content) ? {} : { [key]: content };
  };
  return {
    ...made,
    config: {
      add_bos_token: parts.addBos(kind),
      add_eos_token: parts.flag('add_eos_token') ?? false,
      clean_up_tokenization_spaces: false,
      ...special('bos', 'bos_token'),
      ...special('eos', 'eos_token'),
      ...special('unknown', 'unk_token'),
      ...special('padding', 'pad_token'),
      ...chatTemplates(metadata),
    },
    eosIds: [...new Set(endingRoles.flatMap((role) => parts.special(role)?.id ?? []))],
  };
}

const templateKey = 'tokenizer.chat_template';

/** `chat_template` in the form of tokenizer_config.json: a text, or several named ones. */
function chatTemplates(metadata: Metadata): { readonly chat_template?: unknown } {
  const named = [...metadata].flatMap(([key, template]) => {
    const name = key === templateKey ? 'default' : key.slice(templateKey.length + 1);
    const isTemplate = key === templateKey || key.startsWith(`${templateKey}.`);
    return isTemplate && typeof template === 'string' ? [{ name, template }] : [];
  });
  const [first, ...more] = named;
  if (first === undefined) return {};
  return { chat_template: more.length === 0 && first.name === 'default' ? first.template : named };
}

/** The metadata of a tokenizer, checked as it is read. */
class TokenizerParts {
  readonly tokens: TextList;
  readonly kinds: ArrayLike<number>;
  readonly #metadata: Metadata;
  readonly #file: string;

  constructor(metadata: Metadata, file: string) {
    this.#metadata = metadata;
    this.#file = file;
    this.tokens = this.texts('tokens');
    this.kinds =
      this.numbers('token_type') ?? new Int32Array(this.tokens.length).fill(pieceKind.normal);
  }

  texts(key: string): TextList {
    const value = this.#metadata.get(prefix + key);
    if (value instanceof TextList && (value.length > 0 || key !== 'tokens')) return value;
    // An empty array has no type of its own.
    if (Array.isArray(value) && value.length === 0 && key !== 'tokens') return TextList.of([]);
    throw new InputError(
      `the metadata has no list of texts ${prefix}${key}`,
      { file: this.#file },
      "The file's tokenizer is incomplete",
    );
  }

  /** One number per token. */
  numbers(key: string): ArrayLike<number> | undefined {
    const value = this.#metadata.get(prefix + key);
    if (value === undefined) return undefined;
    const isNumbers =
      value instanceof Float32Array ||
      value instanceof Int32Array ||
      (Array.isArray(value) && value.every((item) => typeof item === 'number'));
    if (isNumbers && value.length === this.tokens.length) return value;
    throw new InputError(
      `${prefix}${key} is not a list of ${this.tokens.length} numbers, one per token`,
      { file: this.#file },
    );
  }

  flag(key: string): boolean | undefined {
    const value = this.#metadata.get(prefix + key);
    return typeof value === 'boolean' ? value : undefined;
  }

  /** The special token with a role, if the vocabulary has one. */
  special(role: string): { readonly id: number; readonly content: string } | undefined {
    const id = specialTokenId(this.#metadata, role);
    const content = id === null ? undefined : this.tokens.text(id);
    return id === null || content === undefined ? undefined : { id, content };
  }

  /** The pre-tokenizer of a byte-level model. */
  preTokenizer(): PreTokenizer {
    const name = this.#metadata.get(`${prefix}pre`) ?? 'default';
    const found = typeof name === 'string' ? preTokenizers.get(name) : undefined;
    if (found !== undefined) return found;
    throw new InputError(
      `the pre-tokenizer ${brief(name)} is not supported`,
      { file: this.#file },
      `Supported: ${[...preTokenizers.keys()].join(', ')}; or convert the Hugging Face directory`,
    );
  }

  addBos(kind: 'byte-level BPE' | 'SentencePiece'): boolean {
    const byDefault = kind === 'SentencePiece' || (this.preTokenizer().addBos ?? false);
    return (this.flag('add_bos_token') ?? byDefault) && this.special('bos') !== undefined;
  }
}

function fromPieces(parts: TokenizerParts): Made {
  const pieces = [...parts.tokens];
  const unknown = Array.from(parts.kinds).indexOf(pieceKind.unknown);
  const json = tokenizerJsonFromPieces({
    pieces,
    scores: parts.numbers('scores') ?? pieces.map((_, id) => -id),
    kinds: parts.kinds,
    unknownId: parts.special('unknown')?.id ?? (unknown < 0 ? undefined : unknown),
    bosId: parts.special('bos')?.id,
    eosId: parts.special('eos')?.id,
    spacePrefix: parts.flag('add_space_prefix') ?? true,
    addBos: parts.addBos('SentencePiece'),
    addEos: parts.flag('add_eos_token') ?? false,
  });
  const vocab = json.model.vocab as Readonly<Record<string, unknown>>;
  return {
    json,
    tables: null,
    bytes: () => Buffer.from(JSON.stringify(json)),
    has: (token) => Object.hasOwn(vocab, token),
  };
}

function fromMerges(parts: TokenizerParts, file: string): Made {
  const { splits, ignoreMerges = false } = parts.preTokenizer();
  const { tokens, kinds } = parts;
  const merges = parts.texts('merges');
  const tables = bpeTablesOf(tokens, (id) => kinds[id] !== pieceKind.unused, merges, file);
  const addEos = parts.flag('add_eos_token') ?? false;
  const json = byteLevelJson(
    {
      added_tokens: specialPieces((id) => tokens.text(id), kinds).filter(
        ({ id, content }) => tables.vocabulary.idOf(content) === id,
      ),
      normalizer: gpt2Class.normalizer,
      pre_tokenizer: splits === null ? gpt2Class.preTokenizer(false) : splitter(splits),
      post_processor: surround(
        parts.addBos('byte-level BPE') ? parts.special('bos') : undefined,
        addEos ? parts.special('eos') : undefined,
      ),
    },
    { ignore_merges: ignoreMerges },
  );
  return {
    json,
    tables,
    bytes: () => tokenizerBytes(json, tables, tokens, merges),
    has: (token) => tables.vocabulary.idOf(token) !== undefined,
  };
}

function splitter(splits: readonly string[]): Component {
  return {
    type: 'Sequence',
    pretokenizers: [
      ...splits.map((pattern) => ({
        type: 'Split',
        pattern: { Regex: pattern },
        behavior: 'Isolated',
        invert: false,
      })),
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  };
}
