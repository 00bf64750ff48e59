/** A trie of texts, to find the longest one at a position. */

/** Most nodes have at most one child: a map is created only for the second. */
interface Node {
  id: number;
  unit: number;
  child: Node | null;
  others: Map<number, Node> | null;
}

const none = -1;

export class Trie {
  readonly #root = newNode();

  /** Returns false if the trie already has the text. */
  add(text: string, id: number): boolean {
    let node = this.#root;
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      node = childOf(node, unit) ?? addChild(node, unit);
    }
    if (node.id !== none) return false;
    node.id = id;
    return true;
  }

  /** The longest text that begins at `start`, and where it ends. */
  longestAt(text: string, start: number): { readonly id: number; readonly end: number } | null {
    let node = childOf(this.#root, text.charCodeAt(start));
    let id = none;
    let end = start;
    for (let at = start + 1; node !== undefined; at++) {
      if (node.id !== none) {
        id = node.id;
        end = at;
      }
      if (at >= text.length) break;
      node = childOf(node, text.charCodeAt(at));
    }
    return id === none ? null : { id, end };
  }
}

function newNode(): Node {
  return { id: none, unit: none, child: null, others: null };
}

function childOf(node: Node, unit: number): Node | undefined {
  if (node.unit === unit && node.child !== null) return node.child;
  return node.others?.get(unit);
}

function addChild(node: Node, unit: number): Node {
  const child = newNode();
  if (node.child === null) {
    node.unit = unit;
    node.child = child;
  } else {
    node.others ??= new Map();
    node.others.set(unit, child);
  }
  return child;
}
