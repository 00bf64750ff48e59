/** Line input at a terminal, with a history, and the handling of Ctrl-C and Ctrl-D while the user types. */

import { createInterface } from 'node:readline';
import { interruption } from './interrupt.ts';
import { editorOutput, endLine } from './terminal.ts';

/** Why there is no line: Ctrl-C, or the end of the input. */
export type NoLine = 'interrupted' | 'end';
export type Line = { readonly text: string } | NoLine;

/** The most lines of the history. */
const historySize = 500;

export class LineEditor {
  #history: string[] = [];
  /** Lines that arrived together with the previous one, as pasted lines do, and what was typed after them. */
  #pending: string[] = [];
  #typed = '';

  /** Whether a user can type, and see what they type. */
  static get isPossible(): boolean {
    return process.stdin.isTTY && editorOutput.isTTY;
  }

  /** Discards what was typed or pasted ahead. */
  drop(): void {
    this.#pending = [];
    this.#typed = '';
  }

  /**
   * Reads a line. The editor holds the terminal only while it waits, so that Ctrl-C is a signal at other times.
   * Ctrl-C discards what was typed; if nothing was typed, the result is 'interrupted'.
   */
  read(prompt: string): Promise<Line> {
    const pending = this.#pending.shift();
    if (pending !== undefined) return Promise.resolve({ text: pending });
    const editor = createInterface({
      input: process.stdin,
      output: editorOutput,
      terminal: true,
      history: [...this.#history],
      historySize,
      removeHistoryDuplicates: true,
      prompt,
    });
    editor.on('history', (history) => {
      this.#history = [...history];
    });
    return new Promise((resolve) => {
      let line: Line = 'end';
      const stop = () => {
        line = 'interrupted';
        editor.close();
      };
      interruption.addEventListener('abort', stop, { once: true });
      editor.on('line', (text) => {
        if (typeof line !== 'string') this.#pending.push(text);
        else line = { text };
        // By then the editor has taken in everything that arrived together with this line.
        setImmediate(() => {
          this.#typed = editor.line;
          editor.close();
        });
      });
      editor.on('SIGINT', () => {
        const { length } = editor.line;
        endLine();
        if (length === 0) return stop();
        // Ctrl-E, then Ctrl-U.
        editor.write(null, { ctrl: true, name: 'e' });
        editor.write(null, { ctrl: true, name: 'u' });
        editor.prompt();
      });
      editor.on('close', () => {
        interruption.removeEventListener('abort', stop);
        if (line === 'end') endLine();
        resolve(line);
      });
      editor.prompt();
      if (this.#typed !== '') editor.write(this.#typed);
      this.#typed = '';
    });
  }
}
