/** Splits a text into words: the component `pre_tokenizer` of a tokenizer.json. */

import { translate } from '../regex/oniguruma.ts';
import { blanks, complement, punctuation, unassigned, wordCharacters } from '../unicode.ts';
import { bytesAsCharacters } from './byte-level.ts';
import type { Builders, Part } from './part.ts';
import { type Behavior, behaviors, cut } from './split.ts';

/** Receives a word, never an empty one, and whether it is at the beginning of the whole text. */
export type Emit = (word: string, atStart: boolean) => void;

/** Splits `text` and emits its words in order. */
export type PreTokenizer = (text: string, atStart: boolean, emit: Emit) => void;

/** The pattern for GPT-2's words. */
const { expression: gpt2Words } = translate(
  String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
);
const blank = new RegExp(blanks, 'gv');
const punctuationMark = new RegExp(punctuation, 'gv');
const numeral = new RegExp(`[\\p{N}--${unassigned}]`, 'gv');
const words = new RegExp(`${wordCharacters}+|${complement(`[${wordCharacters}${blanks}]`)}+`, 'gv');

const builders: Builders<PreTokenizer> = {
  ByteLevel: (part) => {
    part.ignore('trim_offsets');
    return byteLevel(part.flag('add_prefix_space'), part.flag('use_regex', true));
  },
  Metaspace: metaspace,
  Split: (part) =>
    splitter(part.pattern('pattern'), part.choice('behavior', behaviors), part.flag('invert')),
  Whitespace: () => splitter(words, 'Removed', true),
  WhitespaceSplit: () => splitter(blank, 'Removed'),
  Punctuation: (part) => splitter(punctuationMark, part.choice('behavior', behaviors, 'Isolated')),
  Digits: (part) => splitter(numeral, part.flag('individual_digits') ? 'Isolated' : 'Contiguous'),
  BertPreTokenizer: () =>
    sequence([splitter(blank, 'Removed'), splitter(punctuationMark, 'Isolated')]),
  CharDelimiterSplit: (part) => splitter(literal(part.character('delimiter')), 'Removed'),
  FixedLength: (part) => {
    const length = part.count('length', 5);
    if (length === 0) throw part.refused("'length' is 0");
    return splitter(new RegExp(`\\p{Any}{1,${length}}`, 'gv'), 'Isolated');
  },
  Sequence: (part) => sequence(part.parts('pretokenizers').map(preTokenizerOf)),
};

/** @throws InputError when the pre-tokenizer is not supported */
export function preTokenizerOf(part: Part): PreTokenizer {
  return part.build(builders);
}

function splitter(pattern: RegExp, behavior: Behavior, invert = false): PreTokenizer {
  return (text, atStart, emit) => {
    for (const { start, end } of cut(text, pattern, behavior, invert)) {
      if (start < end) emit(text.slice(start, end), atStart && start === 0);
    }
  };
}

function sequence(steps: readonly PreTokenizer[]): PreTokenizer {
  return steps.reduceRight<PreTokenizer>(
    (rest, step) => (text, atStart, emit) =>
      step(text, atStart, (word, first) => rest(word, first, emit)),
    (text, atStart, emit) => emit(text, atStart),
  );
}

function byteLevel(addPrefixSpace: boolean, useRegex: boolean): PreTokenizer {
  const split = useRegex ? splitter(gpt2Words, 'Isolated') : sequence([]);
  return (text, atStart, emit) => {
    const prefixed = addPrefixSpace && !text.startsWith(' ') ? ` ${text}` : text;
    split(prefixed, atStart, (word, first) => emit(bytesAsCharacters(word), first));
  };
}

/** Spaces become a special character, which is also put at the beginning of a text. */
function metaspace(part: Part): PreTokenizer {
  const { replacement, scheme } = metaspaceOptions(part);
  const split = part.flag('split', true)
    ? splitter(literal(replacement), 'MergedWithNext')
    : sequence([]);
  return (text, atStart, emit) => {
    const replaced = text.replaceAll(' ', replacement);
    const wanted = scheme === 'always' || (scheme === 'first' && atStart);
    const prefix = wanted && !replaced.startsWith(replacement) ? replacement : '';
    split(prefix + replaced, atStart, emit);
  };
}

/** The options that the pre-tokenizer Metaspace shares with the decoder. */
export function metaspaceOptions(part: Part): {
  readonly replacement: string;
  readonly scheme: 'first' | 'never' | 'always';
} {
  part.ignore('str_rep', 'split');
  const replacement = part.character('replacement');
  const scheme = part.choice('prepend_scheme', ['first', 'never', 'always'] as const, 'always');
  if (part.flag('add_prefix_space', true)) return { replacement, scheme };
  // The older way to say "never". As in the reference, a different scheme contradicts it.
  if (scheme !== 'never') {
    throw part.refused(`'add_prefix_space' is false, but 'prepend_scheme' ${scheme}`);
  }
  return { replacement, scheme };
}

function literal(character: string): RegExp {
  return new RegExp(`\\u{${(character.codePointAt(0) as number).toString(16)}}`, 'gv');
}
