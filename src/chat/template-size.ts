/** Limits for the values of a template: larger ones could exhaust the memory before the time limit. */

import type { TemplateValue } from '@huggingface/jinja';
import { entriesOf, itemsOf, kindOf } from './template-values.ts';

/** The most UTF-16 units of a text, or of a list or mapping when written out. */
export const largestValue = 2 ** 21;
/** The most items of a list, and so the most messages of a conversation. */
export const longestList = 2 ** 16;
/** The deepest nesting of lists. */
const deepest = 200;

/** A value of a template is too large. */
export class TemplateSizeError extends Error {}

export interface Extent {
  /** The UTF-16 units of a text; of other values one for each part, plus the units of all texts in it. */
  readonly size: number;
  /** The number of values in it, including itself; a text is one. */
  readonly parts: number;
  /** The depth of nested lists and mappings. */
  readonly depth: number;
}

const flat: Extent = { size: 1, parts: 1, depth: 0 };

/** Measures values; lists and mappings never change, so each is measured only once. */
export class ValueMeter {
  readonly #known = new WeakMap<TemplateValue, Extent>();

  /**
   * The extent of a value, including everything it refers to, counted once for each reference.
   * @throws TemplateSizeError when it exceeds the limits
   */
  measure(value: TemplateValue, level = 0): Extent {
    const kind = kindOf(value);
    if (kind === 'other' || kind === 'function') return flat;
    const found = this.#known.get(value);
    if (found !== undefined) return found;
    const extent = this.#measure(value, level);
    // The contents of a namespace change, and a text knows its own length.
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

/** @throws TemplateSizeError when a text or value of this many units is too large */
export function checkSize(size: number): void {
  if (size <= largestValue) return;
  throw new TemplateSizeError(`makes more than ${largestValue} characters`);
}
