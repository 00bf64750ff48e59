/**
 * The values of `tokenizer.ggml.pre`: how text is cut into words before a byte-level BPE sees them.
 * Several names stand for the same patterns.
 */

export interface PreTokenizer {
  /**
   * Patterns applied one after the other, each to the pieces that the one before left; null: GPT-2's
   * alone, which the byte-level step has built in.
   */
  readonly splits: readonly string[] | null;
  /** Whether a word that is a token is taken whole, whatever the merges say. */
  readonly ignoreMerges?: boolean;
  /** Whether BOS begins a text where the file does not say. */
  readonly addBos?: boolean;
}

/** English contractions in either case. */
const contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const blanks = '\\s+(?!\\S)|\\s+';
const marksAndBlanks = ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|${blanks}`;
const letters = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+';

const classic = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|${blanks}`;
const threeDigits = `${contractions}|${letters}|\\p{N}{1,3}|${marksAndBlanks}`;
const oneDigit = `${contractions}|${letters}|\\p{N}|${marksAndBlanks}`;
/** Words cut where their case changes, with what may follow one, and numbers. */
const byCases = (suffix: string, number: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+${suffix}|` +
  `[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*${suffix}|` +
  `${number}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|${blanks}`;
const byCase = byCases('', '\\p{N}');
const byCaseContracted = byCases(`${contractions}?`, '\\p{N}{1,3}');
const noBreaks = `${contractions}|${letters}|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|${blanks}`;

const kinds: readonly (readonly [PreTokenizer, readonly string[]])[] = [
  [{ splits: null }, ['gpt-2', 'phi-2', 'mpt', 'olmo', 'jais']],
  [
    { splits: [threeDigits], ignoreMerges: true, addBos: true },
    ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'pixtral'],
  ],
  [{ splits: [threeDigits] }, ['dbrx', 'smaug-bpe', 'chatglm-bpe', 'glm4']],
  [{ splits: [byCaseContracted] }, ['gpt-4o', 'llama4']],
  [{ splits: [noBreaks] }, ['seed-coder']],
  [{ splits: [' ?[^(\\s|.,!?…。，、।۔،)]+'] }, ['bloom', 'poro-chat', 'gpt3-finnish']],
  [{ splits: [oneDigit] }, ['qwen2', 'deepseek-r1-qwen', 'stablelm2', 'megrez']],
  [
    { splits: ['\\p{N}', classic] },
    ['smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'minerva-7b', 'exaone'],
  ],
  [{ splits: ['[\\p{P}\\$\\+<=>\\^~\\|`]+', classic, '[0-9][0-9][0-9]'] }, ['falcon']],
  [{ splits: [byCase], ignoreMerges: true, addBos: true }, ['tekken']],
  [{ splits: ['[\\p{P}\\$\\+<=>\\^~\\|]+', classic, '\\p{N}+', '[0-9][0-9][0-9]'] }, ['default']],
];

export const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map(
  kinds.flatMap(([kind, names]) => names.map((name) => [name, kind] as const)),
);

/** The values of `tokenizer.ggml.model` that are read, and what they are. */
export const tokenizerModels: ReadonlyMap<string, 'byte-level BPE' | 'SentencePiece'> = new Map([
  ['gpt2', 'byte-level BPE'],
  ['llama', 'SentencePiece'],
]);
