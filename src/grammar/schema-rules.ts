/**
 * A JSON schema as rules of a grammar, in the engine's notation (EBNF). Each text of the grammar is valid
 * under the schema, but the grammar may not contain all valid texts: an object with named properties has
 * no others, and they come in the order of the schema.
 */

import { isJsonObject } from '../checkpoint/json-file.ts';
import type { GrammarFormat, JsonSchema } from './format.ts';
import { formatPatterns } from './formats.ts';
import { integerRule } from './number-rules.ts';
import { patternRule } from './pattern-rule.ts';
import { placeOf } from './references.ts';

type Schema = Readonly<Record<string, unknown>>;

/** Blanks, strings, numbers, and any value. Digits are limited to the precision of JavaScript numbers. */
const common = [
  'ws ::= [ \\n\\t]*',
  'char ::= [^"\\\\\\x00-\\x1f] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-cA-C] [0-9a-fA-F]{3})',
  'text ::= "\\"" char* "\\""',
  'number ::= "-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})? ([eE] [+-]? [0-9]{1,2})?',
  'pair ::= text ws ":" ws value',
  'object ::= "{" ws (pair ws ("," ws pair ws)*)? "}"',
  'list ::= "[" ws (value ws ("," ws value ws)*)? "]"',
  'value ::= object | list | text | number | "true" | "false" | "null"',
];

/** The rules for JSON under a schema, which `checkedSchema` must have accepted. */
export function jsonFormat(schema: JsonSchema): GrammarFormat {
  return { type: 'grammar', grammar: new SchemaRules(schema).text };
}

class SchemaRules {
  readonly text: string;
  readonly #rules: string[] = [];
  /** Names of the rules for targets of references. */
  readonly #referred = new Map<string, string>();
  /** References whose rules are still to be made; not recursively, as they may form a long chain. */
  readonly #open: string[] = [];
  #names = 0;

  constructor(schema: unknown) {
    const root = this.#valueOf(schema);
    for (let ref = this.#open.pop(); ref !== undefined; ref = this.#open.pop()) {
      const body = this.#valueOf(placeOf(schema, ref));
      this.#rules.push(`${this.#refer(ref)} ::= ${body}`);
    }
    this.text = [`root ::= ${root}`, ...this.#rules, ...common, ''].join('\n');
  }

  /** Adds a rule. @returns its name */
  #rule(body: string): string {
    const name = `r${this.#names++}`;
    this.#rules.push(`${name} ::= ${body}`);
    return name;
  }

  #valueOf(schema: unknown): string {
    if (!isJsonObject(schema)) return 'value';
    const { $ref: ref, anyOf, type } = schema;
    if (typeof ref === 'string') return this.#refer(ref);
    if (Array.isArray(anyOf)) return either(anyOf.map((each) => this.#valueOf(each)));
    if (Object.hasOwn(schema, 'const')) return literal(JSON.stringify(schema.const));
    if (Array.isArray(schema.enum)) {
      return either(schema.enum.map((each) => literal(JSON.stringify(each))));
    }
    if (type === undefined) return 'value';
    const types: readonly unknown[] = Array.isArray(type) ? type : [type];
    return either(types.map((each) => this.#typed(String(each), schema)));
  }

  #refer(ref: string): string {
    const known = this.#referred.get(ref);
    if (known !== undefined) return known;
    const name = `r${this.#names++}`;
    this.#referred.set(ref, name);
    this.#open.push(ref);
    return name;
  }

  #typed(type: string, schema: Schema): string {
    switch (type) {
      case 'object':
        return this.#object(schema);
      case 'array':
        return this.#array(schema);
      case 'string':
        return textRule(schema);
      case 'integer': {
        const { least, most } = integerBounds(schema);
        return integerRule(least, most);
      }
      case 'boolean':
        return '("true" | "false")';
      case 'null':
        return '"null"';
      default:
        return 'number';
    }
  }

  #object({ properties = {}, required = [], additionalProperties: more = true }: Schema): string {
    const named = Object.entries(properties as Schema);
    if (named.length === 0) {
      if (more === false) return '"{" ws "}"';
      const pair = this.#rule(`text ws ":" ws ${this.#valueOf(more)} ws`);
      return this.#rule(`"{" ws (${pair} ("," ws ${pair})*)? "}"`);
    }
    // From the last property to the first: the rule for the rest if a property was written before, and
    // if none was.
    let [next, first] = ['""', '""'];
    for (const [name, schema] of named.reverse()) {
      const pair = `${literal(JSON.stringify(name))} ws ":" ws ${this.#valueOf(schema)} ws`;
      const isRequired = (required as readonly unknown[]).includes(name);
      const begun = `${this.#rule(pair)} ${next}`;
      const [after, before] = [next, first];
      next = this.#rule(isRequired ? `"," ws ${begun}` : `"," ws ${begun} | ${after}`);
      first = this.#rule(isRequired ? begun : `${begun} | ${before}`);
    }
    return `"{" ws ${first} "}"`;
  }

  #array({ prefixItems = [], items = true, minItems = 0, maxItems }: Schema): string {
    const [least, most] = [minItems as number, maxItems as number | undefined];
    const firsts = (prefixItems as readonly unknown[]).slice(0, most);
    const rest = items === false ? null : this.#rule(`${this.#valueOf(items)} ws`);
    const room = (most ?? Number.POSITIVE_INFINITY) - firsts.length;
    if (firsts.length === 0) return `"[" ws ${some(rest, least, room)} "]"`;
    // From the last item to the first, each a rule that names the next one: copies of the rest would grow
    // with each nested list.
    let next = more(rest, Math.max(0, least - firsts.length), room);
    for (let at = firsts.length - 1; at >= 0; at--) {
      const begun = `${at === 0 ? '' : '"," ws '}${this.#valueOf(firsts[at])} ws ${next}`;
      next = this.#rule(at < least ? begun : `${begun} | ""`);
    }
    return `"[" ws ${next} "]"`;
  }
}

/** From `least` to `most` further items after another one. */
function more(item: string | null, least: number, most: number): string {
  if (item === null || most === 0) return '""';
  return `("," ws ${item}){${least},${Number.isFinite(most) ? most : ''}}`;
}

/** All items of a list. */
function some(item: string | null, least: number, most: number): string {
  if (item === null || most === 0) return '""';
  const list = `${item} ${more(item, Math.max(0, least - 1), most - 1)}`;
  return least === 0 ? `(${list} | "")` : list;
}

function textRule({ minLength, maxLength, pattern, format }: Schema): string {
  const expression = typeof format === 'string' ? formatPatterns[format] : pattern;
  if (typeof expression === 'string') return `"\\"" ${patternRule(expression)} "\\""`;
  if (minLength === undefined && maxLength === undefined) return 'text';
  return `"\\"" char{${minLength ?? 0},${maxLength ?? ''}} "\\""`;
}

/** The most digits that JavaScript numbers distinguish. */
const unbounded = 10 ** 15 - 1;

/** The smallest and the largest whole number that a schema allows. */
export function integerBounds({
  minimum,
  maximum,
  exclusiveMinimum: above,
  exclusiveMaximum: below,
}: Schema): { readonly least: number; readonly most: number } {
  const lows = [minimum as number, typeof above === 'number' ? Math.floor(above) + 1 : undefined];
  const highs = [maximum as number, typeof below === 'number' ? Math.ceil(below) - 1 : undefined];
  const given = (bounds: readonly (number | undefined)[]) =>
    bounds.filter((bound) => bound !== undefined);
  const [least, most] = [given(lows), given(highs)];
  return {
    least: Math.ceil(Math.max(...(least.length === 0 ? [-unbounded] : least))),
    most: Math.floor(Math.min(...(most.length === 0 ? [unbounded] : most))),
  };
}

function either(parts: readonly string[]): string {
  return parts.length === 1 ? (parts[0] ?? '') : `(${parts.join(' | ')})`;
}

/** Exactly this text. */
function literal(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
