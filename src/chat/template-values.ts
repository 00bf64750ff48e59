/**
 * The values that templates compute with, in the Jinja interpreter's form. Its package does not export their
 * classes, so these are taken from values that the interpreter makes.
 */

import { Environment, type TemplateValue } from '@huggingface/jinja';
import { own } from '../own.ts';

type Construct<T> = new (value: T) => TemplateValue;
export type TemplateFunction = (args: TemplateValue[], scope: Environment) => TemplateValue;

/** The kind of a value: a text, a list, a mapping, a namespace, a function, or something without parts. */
export type ValueKind = 'text' | 'list' | 'mapping' | 'namespace' | 'function' | 'other';

const kinds: Readonly<Record<string, ValueKind>> = {
  StringValue: 'text',
  ArrayValue: 'list',
  TupleValue: 'list',
  ObjectValue: 'mapping',
  KeywordArgumentsValue: 'mapping',
  NamespaceValue: 'namespace',
  FunctionValue: 'function',
};

/** Converts a plain value for templates; objects become mappings in the order of their keys. */
export function toTemplateValue(plain: unknown): TemplateValue {
  return new Environment().set('value', plain);
}

/** The constructor of a sample's class. */
function classOf<T>(sample: TemplateValue): Construct<T> {
  return sample.constructor as unknown as Construct<T>;
}

const List = classOf<readonly TemplateValue[]>(toTemplateValue([]));
const Mapping = classOf<ReadonlyMap<string, TemplateValue>>(toTemplateValue({}));
const Callable = classOf<TemplateFunction>(toTemplateValue(() => null));

export function listValue(items: readonly TemplateValue[]): TemplateValue {
  return new List(items);
}

export function mappingValue(entries: ReadonlyMap<string, TemplateValue>): TemplateValue {
  return new Mapping(entries);
}

export function functionValue(call: TemplateFunction): TemplateValue {
  return new Callable(call);
}

export function kindOf({ type }: TemplateValue): ValueKind {
  return own(kinds, type) ?? 'other';
}

/** The text of a text value; undefined for others. */
export function textOf(value: TemplateValue | undefined): string | undefined {
  return typeof value?.value === 'string' ? value.value : undefined;
}

/** The items of a list; undefined for other values. */
export function itemsOf(value: TemplateValue): readonly TemplateValue[] | undefined {
  return Array.isArray(value.value) ? value.value : undefined;
}

/** The entries of a mapping or a namespace; undefined for other values. */
export function entriesOf(value: TemplateValue): ReadonlyMap<string, TemplateValue> | undefined {
  return value.value instanceof Map ? value.value : undefined;
}

/** The positional arguments of a call, and the named ones, which the interpreter puts last. */
export function argumentsOf(args: readonly TemplateValue[]): {
  readonly positional: readonly TemplateValue[];
  readonly named: ReadonlyMap<string, TemplateValue>;
} {
  const last = args.at(-1);
  const named = last?.type === 'KeywordArgumentsValue' ? entriesOf(last) : undefined;
  return { positional: named === undefined ? args : args.slice(0, -1), named: named ?? new Map() };
}
