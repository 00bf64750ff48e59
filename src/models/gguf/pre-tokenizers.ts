/**
 * The values of `tokenizer.ggml.pre`: how text is split into words before byte-level BPE. Several names
 * stand for the same patterns. Where llama.cpp approximates the pattern of a model's tokenizer.json (it has
 * no marks in classes of cased letters, and no possessive quantifiers), this table has the model's own
 * pattern.
 */

export interface PreTokenizer {
  /**
   * Patterns that are applied one after the other, each to the pieces that the previous one left; null:
   * only GPT-2's pattern, which is built into the byte-level step.
   */
  readonly splits: readonly string[] | null;
  /** Whether a word that is a token is used as one token, whatever the merges say. */
  readonly ignoreMerges?: boolean;
  /** Whether a text begins with BOS if the file does not say. */
  readonly addBos?: boolean;
}

/** Characters of hexadecimal ranges, in the form for a character class. */
const fromRanges = (ranges: string) =>
  ranges
    .split(/\s+/)
    .map((range) =>
      range
        .split('-')
        .map((code) => String.fromCodePoint(Number.parseInt(code, 16)))
        .join('-'),
    )
    .join('');

/** English contractions in either case. */
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const blanks = '\\s+(?!\\S)|\\s+';
const lineBreaks = '\\s*[\\r\\n]+';
const symbolsAndBlanks = ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${lineBreaks}|${blanks}`;
const letters = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+';

const classic = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|${blanks}`;
/** Contractions, letters with an optional character before them, the given digits, symbols, whitespace. */
const modern = (number: string) => `${contractions}|${letters}|${number}|${symbolsAndBlanks}`;
const threeDigits = modern('\\p{N}{1,3}');
const oneDigit = modern('\\p{N}');

/** Words split where their case changes, with an optional suffix, and numbers. */
const byCases = (suffix: string, number: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+${suffix}|` +
  `[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*${suffix}|` +
  `${number}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${lineBreaks}|${blanks}`;
const byCase = byCases('', '\\p{N}');
const byCaseContracted = byCases(`${contractions}?`, '\\p{N}{1,3}');
const noBreaks = `${contractions}|${letters}|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${lineBreaks}|${blanks}`;
/** Qwen 3.5: marks belong to words. */
const withMarks =
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|` +
  `${lineBreaks}|${blanks}`;
/** Jais 2: whitespace in runs of powers of two. */
const blanksByPowers = `${[512, 256, 128, 64, 32, 16, 8, 4, '1,2'].map((count) => `\\s{${count}}(?!\\S)`).join('|')}|\\s{1}`;
/** EXAONE MoE: words of letters that single spaces separate form one piece. */
const phrases =
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|` +
  ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|${blanks}`;
/** Ling: possessive quantifiers, and a piece for each line break. */
const possessive =
  `'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|` +
  `\\s*[\\r\\n]|${blanks}`;
const sentences = ' ?[^(\\s|.,!?…。，、।۔،)]+';

/** Chinese characters and kana. */
const chineseAndKana = `[${fromRanges('4e00-9fa5 3040-309f 30a0-30ff')}]+`;
/**
 * DeepSeek 3: an ASCII punctuation character before letters, letters with marks, punctuation, whitespace.
 */
const deepseek3Words = (symbols: string, breaks: string) =>
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|' +
  `${symbols}|${breaks}|${blanks}`;
const deepseek3 = deepseek3Words(' ?[\\p{P}\\p{S}]+[\\r\\n]*', lineBreaks);
/** Letters with case, as of Unicode 11, without the lower-case letters of Armenian and Georgian. */
const casedLetters = fromRanges(
  `41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376-377 37b-37d 37f 386 388-38a
  38c 38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf
  1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d
  1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4
  1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f
  2145-2149 214e 2183-2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2-2cf3 a640-a66d a680-a69b a722-a76f
  a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3
  104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943`,
);
const beyondLatin = `[${fromRanges('4e00-9fa5 800-4e00 ac00-d7ff')}]+`;
/** For Kimi's tokenizer, which has Chinese words: other letters by case. */
const otherLetters = (capital: string) =>
  `[\\p{L${capital}}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]`;

const kinds: readonly (readonly [PreTokenizer, readonly string[]])[] = [
  [
    { splits: null },
    [
      ...['gpt-2', 'phi-2', 'mpt', 'olmo', 'jais', 'exaone4', 'trillion', 'gigachat', 'a.x-4.0'],
      ...['mellum', 'granite-docling'],
    ],
  ],
  [
    { splits: [threeDigits], ignoreMerges: true, addBos: true },
    ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2'],
  ],
  [{ splits: [threeDigits] }, ['dbrx', 'smaug-bpe', 'chatglm-bpe', 'glm4']],
  [{ splits: [byCaseContracted] }, ['gpt-4o', 'llama4', 'kanana2', 'talkie', 'minimax-m2']],
  [{ splits: [noBreaks] }, ['seed-coder']],
  [{ splits: [sentences] }, ['bloom', 'poro-chat', 'gpt3-finnish']],
  [{ splits: [sentences, '\\p{N}'] }, ['viking']],
  [
    { splits: [oneDigit] },
    [
      ...['qwen2', 'deepseek-r1-qwen', 'stablelm2', 'megrez', 'hunyuan', 'solar-open', 'grok-2'],
      'kormo',
    ],
  ],
  [{ splits: [`${letters}|\\p{N}|${symbolsAndBlanks}`] }, ['ufakzeka']],
  [{ splits: ['[^\\n]+|[\\n]+', oneDigit] }, ['laguna']],
  [{ splits: [withMarks] }, ['qwen35']],
  [
    { splits: ['\\p{N}', classic] },
    [
      ...['smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'minerva-7b', 'exaone'],
      'mellum2',
    ],
  ],
  [{ splits: ['[\\p{P}\\$\\+<=>\\^~\\|`]+', classic, '[0-9][0-9][0-9]'] }, ['falcon']],
  [{ splits: [byCase], ignoreMerges: true, addBos: true }, ['tekken']],
  [{ splits: ['\\p{N}{1,3}', modern('\\p{N}+')], ignoreMerges: true }, ['minicpm5']],
  [
    {
      splits: [
        `${contractions}|${letters}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${lineBreaks}|${blanksByPowers}`,
      ],
    },
    ['jais-2'],
  ],
  [
    {
      splits: [
        '[\\r\\n]',
        `\\s?[${casedLetters}]+`,
        `\\s?[${fromRanges('21-2f 3a-7e ff01-ff0f ff1a-ff5e 2018-201f 3000-3002')}]+`,
        '\\s+$',
        beyondLatin,
        '\\p{N}+',
      ],
    },
    ['deepseek-llm'],
  ],
  [
    { splits: ['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', beyondLatin, '\\p{N}'] },
    ['deepseek-coder'],
  ],
  [
    { splits: ['\\p{N}{1,3}', chineseAndKana, deepseek3] },
    ['deepseek-v3', 'hunyuan-dense', 'joyai-llm', 'hy_v4'],
  ],
  [
    {
      splits: [
        '\\p{N}{1,3}',
        chineseAndKana,
        deepseek3Words(' ?[\\p{P}\\p{S}]+', '[\\r\\n]'),
        '\\p{N}',
      ],
    },
    ['spark2_5'],
  ],
  [
    {
      splits: [
        `[${fromRanges('ac00-d7a3 3131-318e')}]+|[！…“”‘’—：；，${fromRanges('3001-303f fe30-fe4f')}]+|[${fromRanges('3105-312f')}]+|${chineseAndKana}`,
        byCases(`${contractions}?`, '\\p{N}'),
      ],
      ignoreMerges: true,
    },
    ['youtu'],
  ],
  [{ splits: ['\\d{1,3}(?=(?:\\d{3})*\\b)', byCaseContracted] }, ['tiny_aya', 'cohere2moe']],
  [
    {
      splits: [
        `[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?${otherLetters('u')}*${otherLetters('l')}+${contractions}?|` +
          `[^\\r\\n\\p{L}\\p{N}]?${otherLetters('u')}+${otherLetters('l')}*${contractions}?|` +
          `\\p{N}{1,3}|${symbolsAndBlanks}`,
      ],
    },
    ['kimi-k2'],
  ],
  [{ splits: ['\\p{N}+', '(?=(\\d{3})+(?!\\d))'] }, ['superbpe']],
  [{ splits: [possessive] }, ['bailingmoe', 'bailingmoe2', 'llada-moe']],
  [{ splits: [phrases] }, ['exaone-moe']],
  [{ splits: ['[\\p{P}\\$\\+<=>\\^~\\|]+', classic, '\\p{N}+', '[0-9][0-9][0-9]'] }, ['default']],
];

export const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map(
  kinds.flatMap(([kind, names]) => names.map((name) => [name, kind] as const)),
);

/** The supported values of `tokenizer.ggml.model`, and the tokenizer that each means. */
export const tokenizerModels: ReadonlyMap<string, 'byte-level BPE' | 'SentencePiece'> = new Map([
  ['gpt2', 'byte-level BPE'],
  ['llama', 'SentencePiece'],
]);
