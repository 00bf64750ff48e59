/**
 * Everything that is written to the terminal, and the only place that writes there. Results go to
 * stdout, all else to stderr. What is written may come from files, so it passes the same gate (see
 * plain-text.ts): nothing that a terminal acts on, and lines of bounded length. `--json` is the way to
 * exact values.
 */

import Table from 'cli-table3';
import type { OutputConfiguration } from 'commander';
import { longestLine } from '../errors.ts';
import { cutMiddle, harmless, harmlessJson, shown } from '../plain-text.ts';

/** Spinners are for terminals alone, so that others are spared their 1.6 MiB; null elsewhere. */
const ora = process.stderr.isTTY ? (await import('ora')).default : null;

/** Writes a result: a model's text, or what is made of tables and figures. */
export function print(text: string): void {
  process.stdout.write(harmless(text));
}

/** Whether results may have colours: somebody looks at them, and does not say that there be none. */
function hasColours(): boolean {
  const { NO_COLOR = '', TERM = '' } = process.env;
  return process.stdout.isTTY && NO_COLOR === '' && TERM !== 'dumb';
}

/** Writes a part of a result that matters less. */
export function printDim(text: string): void {
  if (hasColours()) process.stdout.write(`\x1b[2m${harmless(text)}\x1b[22m`);
  else print(text);
}

/** Writes the one JSON object of a `--json` run. */
export function printJson(value: unknown): void {
  process.stdout.write(`${harmlessJson(JSON.stringify(value, null, 2))}\n`);
}

/** Writes a line about the run. */
export function note(line: string): void {
  process.stderr.write(`${shown(line, longestLine + errorPrefix.length)}\n`);
}

/** What an error's line begins with. */
const errorPrefix = 'error: ';

/** Writes what went wrong. */
export function noteError(line: string): void {
  note(`${errorPrefix}${line}`);
}

/** More lines than this, such as those of a stack, nobody reads. */
const mostLines = 200;

/** Writes some lines about the run: a table of figures, a stack. */
export function noteLines(text: string): void {
  const lines = text.replace(/\n$/, '').split('\n', mostLines);
  for (const line of lines) note(line);
}

/** Where a line that is typed is shown and edited: what somebody types acts on their own terminal. */
export const editorOutput: NodeJS.WriteStream = process.stderr;

/** Ends the line on which somebody has typed. */
export function endTypedLine(): void {
  process.stderr.write('\n');
}

/** How commander writes help and what is wrong with the command line. */
export const commanderOutput: OutputConfiguration = {
  writeOut: print,
  writeErr: noteLines,
};

/** Ends the process when nobody takes its results; what it says of the run may go unread. */
export function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough (`| head`) is not an error.
    if (error.code === 'EPIPE') process.exit(0);
    noteError(`cannot write the output: ${error.message}`);
    process.exit(1);
  });
  // Nobody reads what is said about the run: that is no reason to lose its result.
  process.stderr.on('error', () => {});
}

/** Characters of a cell; the last one of a row may be a whole sentence. */
const longestCell = 160;

/** Rows of cells as a plain aligned table; numbers in text form are set right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) =>
    row.map((cell, column) =>
      shown(cell, column === row.length - 1 ? longestLine - longestCell : longestCell),
    ),
  );
  const numeric = head.map((_, column) =>
    cells.every((row) => /^[-\d]/.test(row[column] ?? '') || row[column] === ''),
  );
  const grid = new Table({
    head: [...head],
    colAligns: numeric.map((isNumeric) => (isNumeric ? 'right' : 'left')),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: '',
    },
  });
  grid.push(...cells);
  return `${grid
    .toString()
    .split('\n')
    .map((line) => cutMiddle(line.trimEnd(), longestLine))
    .join('\n')}\n`;
}

export interface Progress {
  /**
   * @param total infinite where nobody knows
   * @param detail what is under way, in place of the name it began with
   */
  update(done: number, total: number, detail?: string): void;
  /** Ends the display; what it showed is gone. */
  stop(): void;
}

/** Work shorter than this shows nothing. */
const quietMs = 1000;
/** How often a spinner of work that tells nothing turns. */
const waitingMs = 200;
/** Without a terminal, a line is written this often. */
const lineEveryMs = 10_000;

/** Shows how far something is: a spinner on a terminal, a line now and then elsewhere. */
export function showProgress(what: string, quiet = false): Progress {
  if (quiet) return { update() {}, stop() {} };
  const started = performance.now();
  // Terminals without a size exist (a serial line, `script`); ora would count lines there forever.
  const spinner =
    ora !== null && process.stderr.columns > 0
      ? ora({ text: shown(what, longestCell), stream: process.stderr, discardStdin: false })
      : null;
  let lastMs = started;
  return {
    update(done, total, detail = what) {
      const now = performance.now();
      if (now - started < quietMs || done === 0) return;
      if (spinner === null && now - lastMs < lineEveryMs) return;
      if (spinner !== null && now - lastMs < 100) return;
      lastMs = now;
      const leftSeconds = Math.ceil(((now - started) * (total - done)) / done / 1000);
      const left = leftSeconds < 120 ? `${leftSeconds} s` : `${Math.round(leftSeconds / 60)} min`;
      const label = shown(detail, longestCell);
      const share = `${Math.floor((100 * done) / total)}%, ${left} left`;
      const text = Number.isFinite(total) ? `${label} ${share}` : label;
      if (spinner === null) note(text);
      else if (spinner.isSpinning) spinner.text = text;
      else spinner.start(text);
    },
    stop() {
      spinner?.stop();
    },
  };
}

/** What `work` gives; while it is waited for, a spinner says `what` for. */
export async function showWaiting<T>(what: string, quiet: boolean, work: Promise<T>): Promise<T> {
  const progress = showProgress(what, quiet);
  const timer = setInterval(() => progress.update(1, Number.POSITIVE_INFINITY), waitingMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    progress.stop();
  }
}

/** Resolves when all that was printed is written. */
export function written(): Promise<void> {
  return new Promise((resolve) => process.stdout.write('', () => resolve()));
}
