/** Texts by their first characters, to find the longest one at a place. */

interface Node {
  readonly next: Map<number, Node>;
  id: number;
}

const none = -1;

export class Trie {
  readonly #root: Node = { next: new Map(), id: none };

  /** False when the text is in it already. */
  add(text: string, id: number): boolean {
    let node = this.#root;
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      let next = node.next.get(unit);
      if (next === undefined) {
        next = { next: new Map(), id: none };
        node.next.set(unit, next);
      }
      node = next;
    }
    if (node.id !== none) return false;
    node.id = id;
    return true;
  }

  /** The longest text that begins at `start`, and where it ends. */
  longestAt(text: string, start: number): { readonly id: number; readonly end: number } | null {
    let node = this.#root.next.get(text.charCodeAt(start));
    let id = none;
    let end = start;
    for (let at = start + 1; node !== undefined; at++) {
      if (node.id !== none) {
        id = node.id;
        end = at;
      }
      if (at >= text.length) break;
      node = node.next.get(text.charCodeAt(at));
    }
    return id === none ? null : { id, end };
  }
}
