/** Everything that is written to the terminal. Results go to stdout, all else to stderr. */

import Table from 'cli-table3';
import ora from 'ora';

/** Writes a result. */
export function print(text: string): void {
  process.stdout.write(text);
}

/** Writes the one JSON object of a `--json` run. */
export function printJson(value: unknown): void {
  print(`${JSON.stringify(value, null, 2)}\n`);
}

/** Writes a line about the run. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Rows of cells as a plain aligned table; numbers in text form are set right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const numeric = head.map((_, column) =>
    rows.every((row) => /^[-\d]/.test(row[column] ?? '') || row[column] === ''),
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
  grid.push(...rows.map((row) => [...row]));
  return `${grid
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
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
/** Without a terminal, a line is written this often. */
const lineEveryMs = 10_000;

/** Shows how far something is: a spinner on a terminal, a line now and then elsewhere. */
export function showProgress(what: string, quiet = false): Progress {
  if (quiet) return { update() {}, stop() {} };
  const started = performance.now();
  // Terminals without a size exist (a serial line, `script`); ora would count lines there forever.
  const animated = process.stderr.isTTY && process.stderr.columns > 0;
  const spinner = animated
    ? ora({ text: what, stream: process.stderr, discardStdin: false })
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
      const share = `${Math.floor((100 * done) / total)}%, ${left} left`;
      const text = Number.isFinite(total) ? `${detail} ${share}` : detail;
      if (spinner === null) note(text);
      else if (spinner.isSpinning) spinner.text = text;
      else spinner.start(text);
    },
    stop() {
      spinner?.stop();
    },
  };
}
