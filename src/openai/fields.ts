/** Reads and checks fields of a request's body; null counts as absent, as in the API. */

import { brief } from '../checkpoint/json-file.ts';
import { badRequest } from './refusal.ts';

export type Body = Readonly<Record<string, unknown>>;

/** The field `name`; undefined where it is absent or null. */
export function field(body: Body, name: string): unknown {
  return Object.hasOwn(body, name) ? (body[name] ?? undefined) : undefined;
}

export interface NumberRange {
  readonly least: number;
  readonly most: number;
  /** Whether the number must be whole. */
  readonly whole?: boolean;
}

/** A number within a range. @throws Refusal that names the range */
export function numberField(
  body: Body,
  name: string,
  { least, most, whole = false }: NumberRange,
): number | undefined {
  const value = field(body, name);
  if (value === undefined) return undefined;
  const fits = typeof value === 'number' && value >= least && value <= most;
  if (fits && (!whole || Number.isSafeInteger(value))) return value;
  const kind = whole ? 'a whole number' : 'a number';
  throw invalid(name, `${kind} from ${least} to ${most}`, value);
}

/** A refusal that names the required and the actual value of a field. */
export function invalid(name: string, must: string, value: unknown): Error {
  return badRequest('invalid_value', `'${name}' must be ${must}, not ${brief(value)}`, name);
}

/** A truth value. @throws Refusal */
export function flagField(body: Body, name: string): boolean | undefined {
  const value = field(body, name);
  if (value === undefined || typeof value === 'boolean') return value;
  throw invalid(name, 'true or false', value);
}

/** Values of unsupported fields that have no effect and so are accepted. */
export type NeutralValues = Readonly<Record<string, (value: unknown) => boolean>>;

/**
 * Refuses unknown fields, and unsupported ones unless their value has no effect: an answer must not differ
 * from what the request asks for. A field may be both known and unsupported.
 * @throws Refusal that names the field
 */
export function checkFields(
  body: Body,
  known: ReadonlySet<string>,
  unsupported: NeutralValues,
): void {
  for (const name of Object.keys(body)) {
    const value = field(body, name);
    if (value === undefined) continue;
    if (!Object.hasOwn(unsupported, name)) {
      if (known.has(name)) continue;
      throw badRequest('unknown_parameter', `the parameter ${brief(name)} is unknown`, name);
    }
    if (unsupported[name]?.(value)) continue;
    const message = `'${name}' of ${brief(value)} is not supported: leave it out`;
    throw badRequest('unsupported_parameter', message, name);
  }
}
