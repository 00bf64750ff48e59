/**
 * Checks which JSON schemas are supported. A keyword that rules cannot express is refused, because answers
 * might then break it.
 */

import { brief, isJsonObject } from '../checkpoint/json-file.ts';
import type { JsonSchema } from './format.ts';
import { formatPatterns } from './formats.ts';
import { GrammarError } from './grammars.ts';
import { PatternError, patternRule } from './pattern-rule.ts';
import { Loops, placeOf } from './references.ts';
import { integerBounds } from './schema-rules.ts';

type Schema = Readonly<Record<string, unknown>>;

/** The most characters of a schema. */
const longestSchema = 64 * 1024;
const deepestSchema = 32;
/** The most repetitions of characters or items: each is a state of the grammar. */
const mostRepetitions = 1000;

/** Annotations: keywords that do not restrict values. */
const annotations = [
  ...['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
  ...['$schema', '$id', '$comment', '$defs', 'definitions', 'nullable', 'strict'],
];

/** Keywords by type. */
const keywordsOf: Readonly<Record<string, readonly string[]>> = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  // Bounds on fractions would need very large rules.
  number: [],
  boolean: [],
  null: [],
};

/** Keywords that exclude all others except annotations and `type`. */
const alone = ['enum', 'const', 'anyOf', '$ref'];

/**
 * The schema, after a check.
 * @param at the schema's name in messages
 * @throws GrammarError if the schema is not supported; the message names the place and what to do
 */
export function checkedSchema(schema: unknown, at: string): JsonSchema {
  const { length } = JSON.stringify(schema) ?? '';
  if (length > longestSchema) {
    throw new GrammarError(`${at} has ${length} characters; the limit is ${longestSchema}`);
  }
  new SchemaCheck(schema).whole(at);
  return schema as JsonSchema;
}

class SchemaCheck {
  readonly #root: unknown;
  /** Targets of references, with their names: they are checked too, wherever they are in the schema. */
  readonly #referred = new Map<unknown, string>();

  constructor(root: unknown) {
    this.#root = root;
  }

  whole(at: string): void {
    const loops = new Loops(this.#root);
    this.check(this.#root, at, 0);
    // The map grows during the loop; targets are not checked recursively, as references may form a long chain.
    for (const [place, ref] of this.#referred) {
      if (loops.metFrom(place)) {
        throw refused(`${at} at '${ref}'`, 'refers to itself without any value in between');
      }
      this.check(place, `${at} at '${ref}'`, 0);
    }
  }

  check(schema: unknown, at: string, depth: number): void {
    if (schema === true) return;
    if (!isJsonObject(schema)) throw refused(at, `must be a schema, not ${brief(schema)}`);
    if (depth > deepestSchema) {
      throw refused(at, `is nested more than ${deepestSchema} schemas deep`);
    }
    for (const list of ['$defs', 'definitions']) {
      this.#each(schema[list] ?? {}, `${at}.${list}`, depth);
    }
    const types = typesOf(schema, at);
    const keywords = Object.keys(schema).filter(
      (name) => name !== 'type' && !annotations.includes(name),
    );
    const single = alone.find((name) => keywords.includes(name));
    if (single !== undefined) {
      const other = keywords.find((name) => name !== single);
      if (other !== undefined) {
        throw refused(at, `has '${other}' beside '${single}', which cannot be combined`);
      }
      this.#checkAlone(single, schema, types, at, depth);
      return;
    }
    const known = (types ?? Object.keys(keywordsOf)).flatMap((type) => keywordsOf[type] ?? []);
    for (const name of keywords) {
      if (!known.includes(name)) throw refused(at, `has '${name}', ${whyNot(name, types)}`);
    }
    if (types === null && keywords.length > 0) {
      throw refused(at, `has '${keywords[0]}' but no 'type': add one`);
    }
    this.#checkKeywords(schema, at, depth);
  }

  #checkAlone(
    keyword: string,
    schema: Schema,
    types: readonly string[] | null,
    at: string,
    depth: number,
  ): void {
    const value = schema[keyword];
    if (keyword === 'anyOf') {
      if (types !== null)
        throw refused(at, `has 'type' beside 'anyOf': move it into each schema of 'anyOf'`);
      if (!Array.isArray(value) || value.length === 0)
        throw refused(at, `has no schemas in 'anyOf'`);
      value.forEach((each, i) => {
        this.check(each, `${at}.anyOf[${i}]`, depth + 1);
      });
    } else if (keyword === '$ref') {
      const place = placeOf(this.#root, value);
      if (place !== true && !isJsonObject(place)) {
        throw refused(
          at,
          `has '$ref' to ${brief(value)}: only references within the schema are supported`,
        );
      }
      if (!this.#referred.has(place)) this.#referred.set(place, String(value));
    } else {
      const values: unknown = keyword === 'const' ? [value] : value;
      if (!Array.isArray(values) || values.length === 0)
        throw refused(at, `has no values in 'enum'`);
      const odd = values.find((each) => types !== null && !types.some((type) => isOf(each, type)));
      if (odd !== undefined)
        throw refused(at, `has ${brief(odd)} in '${keyword}', which does not match 'type'`);
    }
  }

  #checkKeywords(schema: Schema, at: string, depth: number): void {
    const { properties = {}, required = [], additionalProperties, items, prefixItems } = schema;
    this.#each(properties, `${at}.properties`, depth);
    const names = isJsonObject(properties) ? Object.keys(properties) : [];
    if (!Array.isArray(required)) throw refused(at, `must have a list as 'required'`);
    const strange = required.find((name) => !names.includes(name as string));
    if (strange !== undefined) {
      throw refused(at, `has ${brief(strange)} in 'required' but not in 'properties'`);
    }
    if (additionalProperties !== undefined && additionalProperties !== false) {
      this.check(additionalProperties, `${at}.additionalProperties`, depth + 1);
    }
    if (items !== undefined && items !== false) this.check(items, `${at}.items`, depth + 1);
    if (prefixItems !== undefined) {
      if (!Array.isArray(prefixItems)) throw refused(at, `must have a list as 'prefixItems'`);
      prefixItems.forEach((each, i) => {
        this.check(each, `${at}.prefixItems[${i}]`, depth + 1);
      });
    }
    checkCounts(schema, 'Items', at);
    const { minItems = 0 } = schema;
    if (items === false && (minItems as number) > ((prefixItems ?? []) as unknown[]).length) {
      throw refused(at, "has a 'minItems' above the most items that it allows");
    }
    checkCounts(schema, 'Length', at);
    checkBounds(schema, at);
    const { pattern, format, minLength, maxLength } = schema;
    const kinds = [pattern, format, minLength ?? maxLength].filter((value) => value !== undefined);
    if (kinds.length > 1) {
      throw refused(
        at,
        `must have only one of 'pattern', 'format' and a length: they cannot be combined`,
      );
    }
    if (format !== undefined && !Object.hasOwn(formatPatterns, String(format))) {
      const known = Object.keys(formatPatterns).join(', ');
      throw refused(at, `has the 'format' ${brief(format)}; the supported formats are ${known}`);
    }
    if (pattern === undefined) return;
    if (typeof pattern !== 'string') throw refused(at, "must have a text as 'pattern'");
    try {
      patternRule(pattern);
    } catch (error) {
      if (!(error instanceof PatternError)) throw error;
      throw refused(at, `has a 'pattern' with ${error.message}, which is not supported`);
    }
  }

  #each(schemas: unknown, at: string, depth: number): void {
    if (!isJsonObject(schemas)) throw refused(at, 'must be an object of schemas');
    for (const [name, each] of Object.entries(schemas))
      this.check(each, `${at}.${name}`, depth + 1);
  }
}

function checkCounts(schema: Schema, what: 'Items' | 'Length', at: string): void {
  const [least = 0, most = mostRepetitions] = [schema[`min${what}`], schema[`max${what}`]];
  for (const count of [least, most]) {
    if (Number.isInteger(count) && (count as number) >= 0 && (count as number) <= mostRepetitions) {
      continue;
    }
    throw refused(at, `must have a 'min${what}' and 'max${what}' from 0 to ${mostRepetitions}`);
  }
  if ((least as number) > (most as number)) {
    throw refused(at, `has a larger 'min${what}' than 'max${what}'`);
  }
}

function checkBounds(schema: Schema, at: string): void {
  const bound = (name: string) => {
    const value = schema[name];
    const isSafe = typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
    if (value !== undefined && !isSafe)
      throw refused(
        at,
        `has ${brief(value)} as '${name}', which is not a number of at most 15 digits`,
      );
  };
  for (const name of ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum']) bound(name);
  const { least, most } = integerBounds(schema);
  if (least > most) throw refused(at, 'has bounds between which there is no whole number');
}

function typesOf({ type }: Schema, at: string): readonly string[] | null {
  if (type === undefined) return null;
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  const strange = types.find((each) => !Object.hasOwn(keywordsOf, String(each)));
  if (types.length > 0 && strange === undefined) return types as readonly string[];
  throw refused(at, `has ${brief(type)} as 'type'`);
}

function isOf(value: unknown, type: string): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return isJsonObject(value);
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}

function whyNot(name: string, types: readonly string[] | null): string {
  const all = Object.values(keywordsOf).flat();
  if (all.includes(name)) return `which a value of type ${brief(types)} cannot have`;
  if (name === 'oneOf') return "which is not supported: use 'anyOf'";
  return 'which is not supported: leave it out, and state the requirement in the prompt';
}

function refused(at: string, what: string): GrammarError {
  return new GrammarError(`${at} ${what}`);
}
