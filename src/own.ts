/**
 * Look-ups by a name that comes from a file or a user. A plain object also has `constructor`, `toString`
 * and `__proto__`, and a file may ask for any of them.
 */

/** The own property `name` of `table`; undefined if it has none. */
export function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
