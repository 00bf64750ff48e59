/** Parts of an answer that the model thinks aloud, between `<think>` and `</think>`, told apart as they come. */

const opening = '<think>';
const closing = '</think>';

export interface AnswerPart {
  readonly text: string;
  /** Whether it is thought rather than said; its marks are part of it. */
  readonly thought: boolean;
}

export class ReasoningSplitter {
  #thinking: boolean;
  /** What may be the beginning of a mark. */
  #rest = '';

  /** @param prompt the text that the answer goes on with: a template may have opened the thought */
  constructor(prompt = '') {
    this.#thinking = prompt.lastIndexOf(opening) > prompt.lastIndexOf(closing);
  }

  /** The parts of what has come, as far as it is certain what they are. */
  push(piece: string): readonly AnswerPart[] {
    const parts: AnswerPart[] = [];
    let text = this.#rest + piece;
    for (;;) {
      const mark = this.#thinking ? closing : opening;
      const at = text.indexOf(mark);
      if (at < 0) break;
      // Both marks belong to the thought.
      const end = this.#thinking ? at + mark.length : at;
      if (end > 0) parts.push({ text: text.slice(0, end), thought: this.#thinking });
      text = text.slice(end);
      this.#thinking = !this.#thinking;
    }
    const open = beginningOf(this.#thinking ? closing : opening, text);
    this.#rest = text.slice(text.length - open);
    const certain = text.slice(0, text.length - open);
    if (certain !== '') parts.push({ text: certain, thought: this.#thinking });
    return parts;
  }

  /** What is left at the end. */
  flush(): readonly AnswerPart[] {
    const text = this.#rest;
    this.#rest = '';
    return text === '' ? [] : [{ text, thought: this.#thinking }];
  }
}

/** How many characters at the end of `text` may be the beginning of `mark`. */
function beginningOf(mark: string, text: string): number {
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length--) {
    if (mark.startsWith(text.slice(-length))) return length;
  }
  return 0;
}
