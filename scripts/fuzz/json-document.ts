/** JSON as a tree that may be invalid: a key may occur twice, and a value may be any text. */

export type JsonNode =
  | { readonly kind: 'map'; readonly entries: [key: string, value: JsonNode][] }
  | { readonly kind: 'list'; readonly items: JsonNode[] }
  /** A number, a text, or whatever is written for one. */
  | { readonly kind: 'leaf'; readonly text: string };

/** The tree of a JSON text. @throws SyntaxError; RangeError where it nests too deep for us */
export function parseDocument(text: string): JsonNode {
  return nodeOf(JSON.parse(text));
}

export function nodeOf(value: unknown): JsonNode {
  if (Array.isArray(value)) return { kind: 'list', items: value.map(nodeOf) };
  if (typeof value !== 'object' || value === null) return leaf(JSON.stringify(value));
  return { kind: 'map', entries: Object.entries(value).map(([key, part]) => [key, nodeOf(part)]) };
}

export function leaf(text: string): JsonNode {
  return { kind: 'leaf', text };
}

export function formatDocument(node: JsonNode): string {
  if (node.kind === 'leaf') return node.text;
  if (node.kind === 'list') return `[${node.items.map(formatDocument).join(',')}]`;
  const entries = node.entries.map(
    ([key, value]) => `${JSON.stringify(key)}:${formatDocument(value)}`,
  );
  return `{${entries.join(',')}}`;
}

/** A place in a tree: a node within its parent. */
export interface JsonPlace {
  readonly node: JsonNode;
  /** Keys and indices from the root, for reports. */
  readonly path: string;
  replace(node: JsonNode): void;
  remove(): void;
  /** Inserts a node next to it: under the same key, or after it. */
  addBeside(node: JsonNode): void;
  /** Gives it another key; nothing in a list. */
  rename(key: string): void;
}

/** The places directly in `node`. */
export function placesIn(node: JsonNode, path = ''): JsonPlace[] {
  if (node.kind === 'leaf') return [];
  if (node.kind === 'list') {
    const { items } = node;
    return items.map((item, index) => ({
      node: item,
      path: `${path}[${index}]`,
      replace: (other) => put(items, index, 1, other),
      remove: () => put(items, index, 1),
      addBeside: (other) => put(items, index + 1, 0, other),
      rename() {},
    }));
  }
  const { entries } = node;
  return entries.map(([key, value], index) => ({
    node: value,
    path: path === '' ? key : `${path}.${key}`,
    replace: (other) => put(entries, index, 1, [key, other]),
    remove: () => put(entries, index, 1),
    addBeside: (other) => put(entries, index + 1, 0, [key, other]),
    rename: (name) => put(entries, index, 1, [name, value]),
  }));
}

function put<T>(list: T[], at: number, gone: number, ...items: readonly T[]): void {
  list.splice(at, gone, ...items);
}
