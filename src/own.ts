/**
 * Look-ups by a name that comes from a file or a user. A plain object has `constructor`, `toString` and
 * `__proto__` besides what was put into it, and a file may ask for any of them.
 */

/** What `table` itself holds under `name`; undefined where it holds nothing. */
export function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
