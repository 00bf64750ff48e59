/** Separates a model's reasoning, between `<think>` and `</think>`, from the answer while it is generated. */

const opening = '<think>';
const closing = '</think>';

export interface AnswerPart {
  readonly text: string;
  /** Whether it is reasoning rather than content; the marks belong to the reasoning. */
  readonly thought: boolean;
}

export class ReasoningSplitter {
  #thinking: boolean;
  /** Text that may be the beginning of a mark. */
  #rest = '';

  /** @param prompt the text that the answer continues: its template may already have opened the reasoning */
  constructor(prompt = '') {
    this.#thinking = prompt.lastIndexOf(opening) > prompt.lastIndexOf(closing);
  }

  /** Takes more text. @returns the parts that are certain so far */
  push(piece: string): readonly AnswerPart[] {
    const parts: AnswerPart[] = [];
    let text = this.#rest + piece;
    for (;;) {
      const mark = this.#thinking ? closing : opening;
      const at = text.indexOf(mark);
      if (at < 0) break;
      // Both marks belong to the reasoning.
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

  /** The rest, at the end of the answer. */
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
