/** How much a template may make: what is more would exhaust the memory before the time is over. */

import type { TemplateValue } from '@huggingface/jinja';
import { entriesOf, itemsOf, kindOf } from './template-values.ts';

/** UTF-16 units of a text; as much counts what a list or a mapping has, written out. */
export const largestValue = 2 ** 21;
/** Items of a list. A conversation has as many messages at most. */
export const longestList = 2 ** 16;
/** Lists within lists. */
const deepest = 200;

/** What a template makes is too much. */
export class TemplateSizeError extends Error {}

export interface Extent {
  /** Of a text its UTF-16 units, of others one for each part and each unit of a text in it. */
  readonly size: number;
  /** Values in it, itself included; a text is one. */
  readonly parts: number;
  /** Of lists and mappings within each other. */
  readonly depth: number;
}

const flat: Extent = { size: 1, parts: 1, depth: 0 };

/** Measures values; lists and mappings never change, so each is measured once. */
export class ValueMeter {
  readonly #known = new WeakMap<TemplateValue, Extent>();

  /**
   * The extent of a value, all that it refers to included, as often as it does.
   * @throws TemplateSizeError when it is larger than anything may be
   */
  measure(value: TemplateValue, level = 0): Extent {
    const kind = kindOf(value);
    if (kind === 'other' || kind === 'function') return flat;
    const found = this.#known.get(value);
    if (found !== undefined) return found;
    const extent = this.#measure(value, level);
    // What a namespace holds changes. A text knows its length by itself.
    if (kind !== 'namespace' && kind !== 'text') this.#known.set(value, extent);
    return extent;
  }

  #measure(value: TemplateValue, level: number): Extent {
    if (typeof value.value === 'string') {
      checkSize(value.value.length);
      return { size: value.value.length, parts: 1, depth: 0 };
    }
    if (level > deepest)
      throw new TemplateSizeError(`nests values more than ${deepest} levels deep`);
    const items = itemsOf(value);
    const entries = entriesOf(value);
    const count = items?.length ?? entries?.size ?? 0;
    if (count > longestList) {
      throw new TemplateSizeError(
        `makes a list of ${count} items; at most ${longestList} are allowed`,
      );
    }
    let size = 1 + count;
    let parts = 1;
    let depth = 0;
    const add = (part: TemplateValue) => {
      const extent = this.measure(part, level + 1);
      size += extent.size;
      parts += extent.parts;
      depth = Math.max(depth, extent.depth);
      checkSize(size);
    };
    for (const item of items ?? []) add(item);
    for (const [key, part] of entries ?? []) {
      size += key.length;
      add(part);
    }
    return { size, parts, depth: depth + 1 };
  }
}

/** @throws TemplateSizeError when a text of so many units, or a value of this size, is too large */
export function checkSize(size: number): void {
  if (size <= largestValue) return;
  throw new TemplateSizeError(`makes more than ${largestValue} characters`);
}
