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
