/** Lines that somebody types at a terminal, with a history, and what Ctrl-C and Ctrl-D mean while they do. */

import { createInterface } from 'node:readline';
import { interruption } from './interrupt.ts';
import { editorOutput, endTypedLine } from './terminal.ts';

/** Why there is no line: Ctrl-C, or the end of the input. */
export type NoLine = 'interrupted' | 'end';
export type Line = { readonly text: string } | NoLine;

/** Lines that are kept to come back to. */
const historySize = 500;

export class LineEditor {
  #history: string[] = [];
  /** Lines that came with the one before, as those that are pasted do, and what was typed behind them. */
  #pending: string[] = [];
  #typed = '';

  /** Whether somebody can type, and see what. */
  static get isPossible(): boolean {
    return process.stdin.isTTY && editorOutput.isTTY;
  }

  /** Forgets what was typed or pasted ahead. */
  drop(): void {
    this.#pending = [];
    this.#typed = '';
  }

  /**
   * A line. The terminal is the editor's only while it waits, so that Ctrl-C is a signal at other times.
   * On Ctrl-C what was typed is dropped; without anything typed there is no line.
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
        // The rest of what came at once is taken in before.
        setImmediate(() => {
          this.#typed = editor.line;
          editor.close();
        });
      });
      editor.on('SIGINT', () => {
        const { length } = editor.line;
        endTypedLine();
        if (length === 0) return stop();
        // Ctrl-E, then Ctrl-U.
        editor.write(null, { ctrl: true, name: 'e' });
        editor.write(null, { ctrl: true, name: 'u' });
        editor.prompt();
      });
      editor.on('close', () => {
        interruption.removeEventListener('abort', stop);
        if (line === 'end') endTypedLine();
        resolve(line);
      });
      editor.prompt();
      if (this.#typed !== '') editor.write(this.#typed);
      this.#typed = '';
    });
  }
}
