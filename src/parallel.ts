/**
 * Calls `work` for each item, at most `limit` at a time; `lane` tells concurrent calls apart
 * (0 .. limit - 1). After a failure no new call starts; the function waits for the running calls (they may
 * still be using a file or memory) and throws the first error.
 */
export async function forEachParallel<T>(
  items: readonly T[],
  limit: number,
  work: (item: T, lane: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const errors: unknown[] = [];
  const run = async (lane: number) => {
    while (next < items.length && errors.length === 0) {
      try {
        await work(items[next++] as T, lane);
      } catch (error) {
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, (_, lane) => run(lane)));
  if (errors.length > 0) throw errors[0];
}

/** Calls work of several callers at most `limit` at a time, in the order of the requests. */
export class Limiter {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#free = limit;
  }

  /** The result of `work`, once its turn has come. Throws its error. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free--;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
