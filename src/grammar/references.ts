/** References within a schema. */

import { isJsonObject } from '../checkpoint/json-file.ts';

/** The value at a JSON pointer within a schema; undefined if there is none, or the pointer is invalid. */
export function placeOf(root: unknown, ref: unknown): unknown {
  if (typeof ref !== 'string' || !/^#(\/[\w$.-]+)*$/.test(ref)) return undefined;
  let place = root;
  for (const step of ref.split('/').slice(1)) {
    if (!isJsonObject(place) || !Object.hasOwn(place, step)) return undefined;
    place = place[step];
  }
  return place;
}

/** Finds schemas that lead back to themselves through references and choices only. */
export class Loops {
  readonly #root: unknown;
  /** Schemas known to lead to no such loop. */
  readonly #sound = new Set<unknown>();

  constructor(root: unknown) {
    this.#root = root;
  }

  /**
   * Whether a schema leads to such a loop: no value could be checked against it, and its grammar would never
   * reach a character. The time for all schemas together is linear in the size of the document.
   */
  metFrom(schema: unknown): boolean {
    const path = new Set<unknown>();
    const open = [{ place: schema, leaves: false }];
    for (let step = open.pop(); step !== undefined; step = open.pop()) {
      const { place, leaves } = step;
      if (leaves) {
        path.delete(place);
        this.#sound.add(place);
        continue;
      }
      if (path.has(place)) return true;
      if (!isJsonObject(place) || this.#sound.has(place)) continue;
      path.add(place);
      open.push({ place, leaves: true });
      const { $ref: ref, anyOf } = place;
      const next: readonly unknown[] = Array.isArray(anyOf) ? anyOf : [placeOf(this.#root, ref)];
      for (const each of next) open.push({ place: each, leaves: false });
    }
    return false;
  }
}
