/** References of schemas to parts of themselves. */

import { isJsonObject } from '../checkpoint/json-file.ts';

/** What stands at a JSON pointer within a schema; undefined where there is nothing, or no pointer. */
export function placeOf(root: unknown, ref: unknown): unknown {
  if (typeof ref !== 'string' || !/^#(\/[\w$.-]+)*$/.test(ref)) return undefined;
  let place = root;
  for (const step of ref.split('/').slice(1)) {
    if (!isJsonObject(place) || !Object.hasOwn(place, step)) return undefined;
    place = place[step];
  }
  return place;
}

/**
 * Whether a schema is no more than a way back to itself, by references and choices alone: no value can
 * be told to be valid under it, and a grammar of it would never come to a character.
 */
export function leadsToItself(root: unknown, schema: unknown): boolean {
  const met = new Set<unknown>();
  const open = [schema];
  while (open.length > 0) {
    const place = open.pop();
    if (!isJsonObject(place) || met.has(place)) continue;
    met.add(place);
    const { $ref: ref, anyOf } = place;
    const next: unknown[] = Array.isArray(anyOf) ? [...anyOf] : [];
    if (ref !== undefined) next.push(placeOf(root, ref));
    if (next.includes(schema)) return true;
    open.push(...next);
  }
  return false;
}
