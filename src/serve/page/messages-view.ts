/** The conversation on the page. Texts of the model become text nodes, never markup. */

import type { Message } from './api.ts';

const names = { system: 'System', user: 'You', assistant: 'Model' } as const;

/** A message on the page, whose text may grow. */
export class MessageView {
  readonly #article = document.createElement('article');
  readonly #text = document.createElement('div');
  readonly #footer = document.createElement('footer');
  #reasoning: HTMLElement | undefined;
  #thought = '';
  #content = '';

  constructor(log: HTMLElement, role: Message['role'], content: string) {
    const name = document.createElement('h2');
    name.textContent = names[role];
    this.#article.className = role;
    this.#article.append(name, this.#text, this.#footer);
    log.append(this.#article);
    this.append(content);
  }

  get content(): string {
    return this.#content;
  }

  /** Adds to the end of the text. */
  append(text: string): void {
    this.#content += text;
    this.#text.replaceChildren(...blocksOf(this.#content));
  }

  /** Adds to the model's reasoning before its answer. */
  appendReasoning(text: string): void {
    if (text === '') return;
    this.#thought += text;
    this.#reasoning ??= this.#addReasoning();
    this.#reasoning.textContent = this.#thought;
  }

  /** Shows a note below the message. */
  note(text: string): void {
    this.#footer.textContent = text;
  }

  #addReasoning(): HTMLElement {
    const details = document.createElement('details');
    const summary = document.createElement('summary');
    const thought = document.createElement('div');
    summary.textContent = 'Reasoning';
    thought.className = 'text';
    details.append(summary, thought);
    this.#text.before(details);
    return thought;
  }
}

/**
 * The text in blocks, with fenced code in blocks of its own. A fence that is not closed yet runs to the
 * end.
 */
function blocksOf(content: string): HTMLElement[] {
  return content.split(/^```/m).map((part, index) => {
    const isCode = index % 2 === 1;
    const block = document.createElement(isCode ? 'pre' : 'div');
    block.className = 'text';
    // The first line of fenced code names its language.
    block.textContent = isCode ? part.slice(part.indexOf('\n') + 1) : part.replace(/^\n/, '');
    return block;
  });
}
