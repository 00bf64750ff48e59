/** Fields of a request's body, checked as they are read; null counts as absent, as the API has it. */

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
  /** Whether only whole numbers will do. */
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

/** A refusal that says what the field must be, and what it is. */
export function invalid(name: string, must: string, value: unknown): Error {
  return badRequest('invalid_value', `'${name}' must be ${must}, not ${brief(value)}`, name);
}
