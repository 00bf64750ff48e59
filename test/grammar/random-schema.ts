/** JSON schemas by chance, of what answers can be held to; small, so that a model comes to an end. */

import { Random } from '../../src/engine/random.ts';

type Schema = Readonly<Record<string, unknown>>;

export class SchemaMaker {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  /** An object with some properties. */
  object(depth = 2): Schema {
    const names = ['a', 'name', 'size_of', 'x y', 'Ünï', "it's", '日本'];
    const properties: Record<string, Schema> = {};
    for (let left = 1 + this.#below(3); left > 0; left--) {
      properties[this.#pick(names)] = this.#value(depth - 1);
    }
    const required = Object.keys(properties).filter(() => this.#below(4) > 0);
    const more = this.#below(3) === 0 ? {} : { additionalProperties: false };
    return { type: 'object', properties, required, ...more };
  }

  #value(depth: number): Schema {
    const makers: (() => Schema)[] = [
      () => ({ enum: ['red', 'a "quoted" one', 'zwölf', 3, null, true].slice(this.#below(4)) }),
      () => ({ const: this.#pick(['fixed', 0, -1.5, false, null]) }),
      () => ({ type: 'boolean' }),
      () => ({ type: ['null', 'boolean'] }),
      () => this.#integer(),
      () => ({ type: 'string', ...this.#pick([{ maxLength: 6 }, { minLength: 2, maxLength: 3 }]) }),
      () => ({
        type: 'string',
        pattern: this.#pick(['^[a-c]{2,4}$', '^(ab|cd){1,3}x$', '^\\d{3}$']),
      }),
      () => ({ type: 'string', format: this.#pick(['date', 'ipv4', 'time', 'duration', 'ipv6']) }),
    ];
    if (depth > 0) {
      makers.push(
        () => this.object(depth),
        () => this.#array(depth),
        () => ({ anyOf: [this.#value(depth - 1), this.#value(depth - 1)] }),
      );
    }
    return this.#pick(makers)();
  }

  #integer(): Schema {
    const minimum = this.#below(200) - 100;
    return this.#pick([
      { type: 'integer', minimum, maximum: minimum + this.#below(50) },
      { type: 'integer', exclusiveMinimum: minimum, exclusiveMaximum: minimum + 2 },
    ]);
  }

  #array(depth: number): Schema {
    const minItems = this.#below(3);
    return {
      type: 'array',
      items: this.#value(depth - 1),
      minItems,
      maxItems: minItems + this.#below(3),
    };
  }

  #below(count: number): number {
    return Math.floor(this.#random.next() * count);
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T;
  }
}
