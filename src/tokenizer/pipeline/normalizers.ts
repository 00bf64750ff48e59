/** Changes a text before it is split: the component `normalizer` of a tokenizer.json. */

import { accents, blanks, withoutNormalForm } from '../unicode.ts';
import { bytesAsCharacters } from './byte-level.ts';
import type { CharacterMap } from './charsmap.ts';
import type { Builders, Part } from './part.ts';
import { characterMap, sentencePieceNormalizer } from './sentencepiece-normalizer.ts';
import { spansOf } from './split.ts';

/** @param atStart whether the text begins the whole text, rather than follows an added token */
export type Normalizer = (text: string, atStart: boolean) => string;

const builders: Builders<Normalizer> = {
  NFC: () => normalForm('NFC'),
  NFD: () => normalForm('NFD'),
  NFKC: () => normalForm('NFKC'),
  NFKD: () => normalForm('NFKD'),
  Lowercase: () => lowercase,
  Strip: (part) => strip(part.flag('strip_left'), part.flag('strip_right')),
  StripAccents: () => remove(new RegExp(accents, 'gv')),
  Nmt: () => nmt,
  Prepend: (part) => {
    const prefix = part.text('prepend');
    return (text) => (text === '' ? text : prefix + text);
  },
  // The reference miscounts characters that are inserted by an empty match.
  Replace: (part) => replace(part.fullPattern('pattern'), part.text('content')),
  ByteLevel: () => bytesAsCharacters,
  Precompiled: (part) => {
    const map = characterMap(part);
    if (map === null) return (text) => text;
    const clusters = new Intl.Segmenter('und', { granularity: 'grapheme' });
    return (text) => replaceClusters(text, clusters, map);
  },
  SentencePiece: sentencePieceNormalizer,
  Sequence: (part) => {
    const steps = part.parts('normalizers').map(normalizerOf);
    return (text, atStart) => steps.reduce((result, step) => step(result, atStart), text);
  },
};

/** @throws InputError when the normalizer is not supported */
export function normalizerOf(part: Part): Normalizer {
  return part.build(builders);
}

/** Replaces every match of `pattern` by `content`, taken literally. */
export function replace(pattern: RegExp, content: string): (text: string) => string {
  return (text) => {
    let result = '';
    for (const { start, end, isMatch } of spansOf(pattern, text)) {
      result += isMatch ? content : text.slice(start, end);
    }
    return result;
  };
}

const encoder = new TextEncoder();
/** The longest cluster, in bytes, that is looked up as a whole. */
const longestCluster = 5;

/**
 * Each short cluster of characters, or else each character, is replaced by the replacement of the shortest
 * key with which it begins: the reference does not look further.
 */
function replaceClusters(text: string, clusters: Intl.Segmenter, map: CharacterMap): string {
  let result = '';
  for (const { segment } of clusters.segment(text)) {
    const bytes = encoder.encode(segment);
    const whole = bytes.length > longestCluster ? null : map.shortest(bytes);
    if (whole !== null) {
      result += whole;
      continue;
    }
    for (const character of segment) result += map.shortest(encoder.encode(character)) ?? character;
  }
  return result;
}

function remove(pattern: RegExp): Normalizer {
  return (text) => text.replace(pattern, '');
}

const unchangeable = new RegExp(withoutNormalForm, 'v');
const atUnchangeable = new RegExp(`(${withoutNormalForm})`, 'v');

function normalForm(form: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): Normalizer {
  return (text) => {
    if (!unchangeable.test(text)) return text.normalize(form);
    // Every other part is such a character.
    const parts = text.split(atUnchangeable);
    return parts.map((part, at) => (at % 2 === 0 ? part.normalize(form) : part)).join('');
  };
}

/** Character by character: a sigma at the end of a word is treated like any other. */
function lowercase(text: string): string {
  let result = '';
  for (const character of text) result += character.toLowerCase();
  return result;
}

const blank = new RegExp(`^${blanks}$`, 'v');

function strip(left: boolean, right: boolean): Normalizer {
  return (text) => {
    // Whitespace characters are single UTF-16 units.
    let start = 0;
    let end = text.length;
    while (left && start < end && blank.test(text[start] as string)) start++;
    while (right && end > start && blank.test(text[end - 1] as string)) end--;
    return text.slice(start, end);
  };
}

const otherBlanks = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

/** Removes control characters and turns other whitespace into spaces, as translation models require. */
function nmt(text: string): string {
  const kept = (control: string) => {
    const code = control.charCodeAt(0);
    const goes = code < 0x80 ? !'\0\t\n\f\r'.includes(control) : code === 0x8f || code === 0x9f;
    return goes ? '' : control;
  };
  return text.replace(/\p{Cc}/gu, kept).replace(otherBlanks, ' ');
}
