/** Filters that differ between Jinja and the interpreter. */

import type { TemplateValue } from '@huggingface/jinja';
import { applyTest } from './python-tests.ts';
import { strip, textMethods } from './python-text.ts';
import { pythonJson, pythonText, pythonTruth } from './python-values.ts';
import type { ValueMeter } from './template-size.ts';
import {
  argumentsOf,
  entriesOf,
  itemsOf,
  listValue,
  textOf,
  toTemplateValue,
} from './template-values.ts';

type Filter = (operand: TemplateValue, args: readonly TemplateValue[]) => TemplateValue | undefined;

/** A filter for texts converts any value to the text that would be written for it. */
const onText =
  (change: (text: string, args: readonly TemplateValue[]) => TemplateValue): Filter =>
  (operand, args) =>
    change(pythonText(operand), args);

const method = (name: string): Filter =>
  onText((text, args) => {
    const change = textMethods.get(name);
    if (change === undefined) throw new TypeError(`there is no method ${name}`);
    return change(text, args);
  });

function length(operand: TemplateValue): TemplateValue | undefined {
  const text = textOf(operand);
  if (text !== undefined) return toTemplateValue([...text].length);
  return operand.type === 'UndefinedValue' ? toTemplateValue(0) : undefined;
}

function list(operand: TemplateValue): TemplateValue | undefined {
  const text = textOf(operand);
  if (text !== undefined) return listValue(Array.from(text, toTemplateValue));
  return operand.type === 'UndefinedValue' ? listValue([]) : undefined;
}

function join(operand: TemplateValue, args: readonly TemplateValue[]): TemplateValue | undefined {
  const { positional, named } = argumentsOf(args);
  if (positional.length > 1 || named.has('attribute')) return undefined;
  const items = itemsOf(operand) ?? (operand.type === 'UndefinedValue' ? [] : undefined);
  if (items === undefined) return undefined;
  const separator = positional[0] ?? named.get('d');
  const between = separator === undefined ? '' : pythonText(separator);
  return toTemplateValue(items.map(pythonText).join(between));
}

/** As in transformers and unlike Jinja, markup is not escaped. */
function tojson(operand: TemplateValue, args: readonly TemplateValue[]): TemplateValue {
  const { positional, named } = argumentsOf(args);
  const argument = (index: number, name: string) => (positional[index] ?? named.get(name))?.value;
  const indent = argument(1, 'indent');
  const separators = argument(2, 'separators');
  const pair = Array.isArray(separators) ? separators.map((part) => pythonText(part)) : [];
  const [item, key] = pair;
  const json = pythonJson(operand, {
    ensureAscii: argument(0, 'ensure_ascii') === true,
    indent: typeof indent === 'number' ? indent : null,
    separators: item === undefined || key === undefined ? null : [item, key],
    sortKeys: argument(3, 'sort_keys') === true,
  });
  return toTemplateValue(json);
}

/** The items that a filter iterates over: the characters of a text; none for an undefined value. */
function iterated(operand: TemplateValue): readonly TemplateValue[] {
  const items = itemsOf(operand);
  if (items !== undefined) return items;
  const entries = entriesOf(operand);
  if (entries !== undefined) return [...entries.keys()].map(toTemplateValue);
  if (operand.type === 'UndefinedValue') return [];
  const text = textOf(operand);
  if (text === undefined) throw new TypeError('a for loop needs a list');
  return Array.from(text, toTemplateValue);
}

/** `select` and `reject`, which test each item, and their variants that test an attribute of each. */
function selection(keep: boolean, byAttribute: boolean): Filter {
  return (operand, args) => {
    const [attribute, rest] = byAttribute ? [textOf(args[0]), args.slice(1)] : [undefined, args];
    const test = textOf(rest[0]);
    const passes = (item: TemplateValue) => {
      const value = attribute === undefined ? item : attributeOf(item, attribute);
      return test === undefined ? pythonTruth(value) : applyTest(test, value, rest.slice(1));
    };
    return listValue(iterated(operand).filter((item) => passes(item) === keep));
  };
}

function attributeOf(item: TemplateValue, path: string): TemplateValue {
  let value: TemplateValue | undefined = item;
  for (const name of path.split('.')) {
    if (value === undefined) break;
    value = entriesOf(value)?.get(name) ?? itemsOf(value)?.[Number(name)];
  }
  return value ?? toTemplateValue(undefined);
}

/** `map(attribute='x')`, or with the name of a filter. */
function map(operand: TemplateValue, args: readonly TemplateValue[]): TemplateValue | undefined {
  const { positional, named } = argumentsOf(args);
  const attribute = textOf(named.get('attribute'));
  const otherwise = named.get('default');
  if (attribute !== undefined) {
    const found = iterated(operand).map((item) => attributeOf(item, attribute));
    return listValue(
      found.map((value) => (value.type === 'UndefinedValue' ? (otherwise ?? value) : value)),
    );
  }
  const filter = filters.get(textOf(positional[0]) ?? '');
  if (filter === undefined) return undefined;
  const each = (item: TemplateValue) => filter(item, positional.slice(1)) ?? item;
  return listValue(iterated(operand).map(each));
}

/** The filters by name. */
const filters: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  [
    'trim',
    (operand, args) =>
      args.length === 0
        ? toTemplateValue(strip(pythonText(operand)))
        : method('strip')(operand, args),
  ],
  ['upper', onText((text) => toTemplateValue(text.toUpperCase()))],
  ['lower', onText((text) => toTemplateValue(text.toLowerCase()))],
  ['capitalize', method('capitalize')],
  ['replace', method('replace')],
  ['string', onText(toTemplateValue)],
  ['length', length],
  ['count', length],
  ['list', list],
  ['join', join],
  ['tojson', tojson],
  ['select', selection(true, false)],
  ['reject', selection(false, false)],
  ['selectattr', selection(true, true)],
  ['rejectattr', selection(false, true)],
  ['map', map],
]);

/** The result of a filter; undefined if the interpreter's own filter agrees with Jinja. */
export function applyFilter(
  name: string,
  operand: TemplateValue,
  args: readonly TemplateValue[],
): TemplateValue | undefined {
  return filters.get(name)?.(operand, args);
}

/** The most times that filters repeat an argument: for each item, line, or part and level. */
const repeats: ReadonlyMap<string, (operand: TemplateValue, meter: ValueMeter) => number> = new Map<
  string,
  (operand: TemplateValue, meter: ValueMeter) => number
>([
  ['join', (operand) => textOf(operand)?.length ?? itemsOf(operand)?.length ?? 0],
  ['indent', (operand) => textOf(operand)?.split('\n').length ?? 0],
  [
    'tojson',
    (operand, meter) => {
      const { parts, depth } = meter.measure(operand);
      return 2 * parts * (depth + 1);
    },
  ],
]);

/** Filters that turn a text into a list of its characters. */
const goesThrough: ReadonlySet<string> = new Set([
  'list',
  'select',
  'reject',
  'selectattr',
  'rejectattr',
  'map',
]);

/** An upper bound for the size of a filter's result, in the units of `ValueMeter`. */
export function growthOf(
  name: string,
  operand: TemplateValue,
  args: readonly TemplateValue[],
  meter: ValueMeter,
): number {
  const { size } = meter.measure(operand);
  // A single character takes as much memory as many characters within a text.
  if (goesThrough.has(name) && textOf(operand) !== undefined) return size * 16;
  const times = repeats.get(name)?.(operand, meter) ?? 0;
  const { positional, named } = argumentsOf(args);
  const lengths = [...positional, ...named.values()].map((argument) =>
    typeof argument.value === 'number' ? argument.value : meter.measure(argument).size,
  );
  return size + times * Math.max(0, ...lengths);
}
