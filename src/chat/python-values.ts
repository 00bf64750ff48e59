/** Python's conversions of values to texts and JSON, and its equality. */

import type { TemplateValue } from '@huggingface/jinja';
import { entriesOf, itemsOf, textOf } from './template-values.ts';

/** `str(value)`: the text that a template writes. */
export function pythonText(value: TemplateValue): string {
  return textOf(value) ?? (value.type === 'UndefinedValue' ? '' : pythonRepr(value));
}

/** `repr(value)`. */
function pythonRepr(value: TemplateValue): string {
  const text = textOf(value);
  if (text !== undefined) return quoted(text);
  const items = itemsOf(value);
  if (items !== undefined) {
    const list = items.map(pythonRepr).join(', ');
    if (value.type !== 'TupleValue') return `[${list}]`;
    return items.length === 1 ? `(${list},)` : `(${list})`;
  }
  const entries = entriesOf(value);
  if (entries !== undefined) {
    return `{${[...entries].map(([key, part]) => `${quoted(key)}: ${pythonRepr(part)}`).join(', ')}}`;
  }
  switch (value.type) {
    case 'NullValue':
      return 'None';
    case 'UndefinedValue':
      return 'Undefined';
    case 'BooleanValue':
      return value.value === true ? 'True' : 'False';
    case 'FunctionValue':
      return '<function>';
    default:
      return numberText(value);
  }
}

/** A number as Python writes it: a float has a point, or from 16 digits on an exponent. */
function numberText({ type, value }: TemplateValue): string {
  const number = Number(value);
  // A large number in JSON may have been a float; its exact digits are lost in any case.
  if (type !== 'FloatValue' && Number.isSafeInteger(number)) return String(number);
  if (!Number.isFinite(number)) return Number.isNaN(number) ? 'nan' : number > 0 ? 'inf' : '-inf';
  const [mantissa = '', exponent = '0'] = number.toExponential().split('e');
  const power = Number(exponent);
  if (number !== 0 && (power < -4 || power >= 16)) {
    return `${mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
  }
  const sign = number < 0 || Object.is(number, -0) ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  if (power < 0) return `${sign}0.${'0'.repeat(-power - 1)}${digits}`;
  const whole = digits.slice(0, power + 1).padEnd(power + 1, '0');
  return `${sign}${whole}.${digits.slice(power + 1) || '0'}`;
}

const shortEscapes: Readonly<Record<string, string>> = {
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\\': '\\\\',
};

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inner = text.replace(/[\\'\n\r\t]|[\p{C}\p{Z}]/gu, (character) => {
    if (character === "'") return quote === "'" ? "\\'" : "'";
    if (character === ' ') return ' ';
    return shortEscapes[character] ?? codeEscape(character);
  });
  return quote + inner + quote;
}

function codeEscape(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

export interface JsonOptions {
  readonly ensureAscii: boolean;
  /** Spaces per level; null: everything on one line. */
  readonly indent: number | null;
  readonly separators: readonly [item: string, key: string] | null;
  readonly sortKeys: boolean;
}

/**
 * `json.dumps(value, …)`.
 * @throws TypeError for values that JSON cannot express, such as an undefined variable
 */
export function pythonJson(value: TemplateValue, options: JsonOptions, level = 0): string {
  const { indent, ensureAscii, sortKeys } = options;
  const text = textOf(value);
  if (text !== undefined) return jsonText(text, ensureAscii);
  const items = itemsOf(value);
  const entries = entriesOf(value);
  if (items === undefined && entries === undefined) return jsonScalar(value);
  const [item, key] = options.separators ?? [indent === null ? ', ' : ',', ': '];
  const part = (inner: TemplateValue) => pythonJson(inner, options, level + 1);
  const sorted = (all: ReadonlyMap<string, TemplateValue>) =>
    sortKeys ? [...all].sort(([a], [b]) => compareTexts(a, b)) : [...all];
  const parts =
    items?.map(part) ??
    sorted(entries ?? new Map()).map(
      ([name, inner]) => jsonText(name, ensureAscii) + key + part(inner),
    );
  const [open, close] = items === undefined ? ['{', '}'] : ['[', ']'];
  if (parts.length === 0 || indent === null) return open + parts.join(item) + close;
  const line = (depth: number) => `\n${' '.repeat(Math.max(0, indent) * depth)}`;
  return open + line(level + 1) + parts.join(item + line(level + 1)) + line(level) + close;
}

function jsonText(text: string, ensureAscii: boolean): string {
  // Python leaves an unpaired surrogate unchanged.
  const json = JSON.stringify(text).replace(
    /(?<!\\)((?:\\\\)*)\\u(d[89a-f][0-9a-f]{2})/g,
    (_, before, hex) => {
      return before + String.fromCharCode(Number.parseInt(hex, 16));
    },
  );
  if (!ensureAscii) return json;
  return json.replace(/[\x7f-\uffff]/g, (unit) =>
    unit === '\x7f' ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const jsonNames: Readonly<Record<string, string>> = {
  None: 'null',
  True: 'true',
  False: 'false',
  nan: 'NaN',
  inf: 'Infinity',
  '-inf': '-Infinity',
};

function jsonScalar(value: TemplateValue): string {
  if (value.type === 'UndefinedValue' || value.type === 'FunctionValue') {
    throw new TypeError('an undefined value cannot be written as JSON');
  }
  const text = pythonRepr(value);
  return jsonNames[text] ?? text;
}

const noneKinds: ReadonlySet<string> = new Set(['NullValue', 'UndefinedValue']);

/** `bool(value)`. */
export function pythonTruth(value: TemplateValue): boolean {
  const items = itemsOf(value);
  if (items !== undefined) return items.length > 0;
  if (value.type === 'NamespaceValue') return true;
  return entriesOf(value)?.size !== 0 && Boolean(value.value);
}

/** `a == b`. A number never equals a text; lists and mappings are compared by their contents. */
export function pythonEquals(a: TemplateValue, b: TemplateValue): boolean {
  const [left, right] = [itemsOf(a), itemsOf(b)];
  if (left !== undefined && right !== undefined) {
    const isPair = (a.type === 'TupleValue') === (b.type === 'TupleValue');
    return (
      isPair &&
      left.length === right.length &&
      left.every((item, at) => pythonEquals(item, right[at] ?? item))
    );
  }
  const [one, two] = [entriesOf(a), entriesOf(b)];
  if (one !== undefined && two !== undefined) {
    if (a.type === 'NamespaceValue' || b.type === 'NamespaceValue') return a === b;
    return (
      one.size === two.size &&
      [...one].every(([key, part]) => {
        const other = two.get(key);
        return other !== undefined && pythonEquals(part, other);
      })
    );
  }
  const [nothing, none] = [noneKinds.has(a.type), noneKinds.has(b.type)];
  if (nothing || none) return a.type === b.type;
  const plain = (value: unknown) => (typeof value === 'boolean' ? Number(value) : value);
  return plain(a.value) === plain(b.value);
}

/** Compares two texts by code points; negative if the first comes before the second. */
export function compareTexts(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const difference = (left[at]?.codePointAt(0) ?? 0) - (right[at]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
