/**
 * All output to the terminal; no other code writes there. Results go to stdout, everything else to
 * stderr. Text may come from files, so all of it is filtered (see plain-text.ts): no control sequences
 * reach the terminal, and lines have a bounded length. `--json` gives exact values.
 */

import type { OutputConfiguration } from 'commander';
import { longestLine } from '../errors.ts';
import { harmless, harmlessJson, shown } from '../plain-text.ts';

/** Spinners, loaded only for a terminal because they take 1.6 MiB; null elsewhere. */
const ora = process.stderr.isTTY ? (await import('ora')).default : null;

/** Whether the last text that was printed ends within a line. */
let midLine = false;

/** Writes a result: a model's text, a table, or figures. */
export function print(text: string): void {
  if (text !== '') midLine = !text.endsWith('\n');
  process.stdout.write(harmless(text));
}

/** Whether results may have colours: stdout is a terminal, and the user has not disabled colours. */
function hasColours(): boolean {
  const { NO_COLOR = '', TERM = '' } = process.env;
  return process.stdout.isTTY && NO_COLOR === '' && TERM !== 'dumb';
}

/** Writes a part of a result that matters less. */
export function printDim(text: string): void {
  if (!hasColours()) {
    print(text);
    return;
  }
  if (text !== '') midLine = !text.endsWith('\n');
  process.stdout.write(`\x1b[2m${harmless(text)}\x1b[22m`);
}

/** Writes the one JSON object of a `--json` run. */
export function printJson(value: unknown): void {
  process.stdout.write(`${harmlessJson(JSON.stringify(value, null, 2))}\n`);
}

/** Writes a line about the run. */
export function note(line: string): void {
  process.stderr.write(`${shown(line, longestLine + errorPrefix.length)}\n`);
}

/** Writes a line about the run while a text is being printed: at a terminal, on a line of its own. */
export function noteAmidText(line: string): void {
  if (midLine && process.stdout.isTTY) endLine();
  note(line);
}

/** The prefix of an error message. */
const errorPrefix = 'error: ';

/** Writes an error message. */
export function noteError(line: string): void {
  note(`${errorPrefix}${line}`);
}

/** The most lines of one text; nobody reads more, for instance of a stack trace. */
const mostLines = 200;

/** Writes several lines about the run, such as a table of figures or a stack trace. */
export function noteLines(text: string): void {
  const lines = text.replace(/\n$/, '').split('\n', mostLines);
  for (const line of lines) note(line);
}

/** Where typed lines are echoed and edited; this output is not filtered, as it comes from the user. */
export const editorOutput: NodeJS.WriteStream = process.stderr;

/** Ends the line of a terminal on which the user has typed, or a text was printed. */
export function endLine(): void {
  process.stderr.write('\n');
}

/** How commander writes help, and errors of the command line. */
export const commanderOutput: OutputConfiguration = {
  writeOut: print,
  writeErr: noteLines,
};

/** Ends the process when stdout cannot be written; errors of stderr are ignored. */
export function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough (`| head`) is not an error.
    if (error.code === 'EPIPE') process.exit(0);
    noteError(`cannot write the output: ${error.message}`);
    process.exit(1);
  });
  // A closed stderr is no reason to lose the result.
  process.stderr.on('error', () => {});
}

export interface Progress {
  /**
   * @param total infinite if unknown
   * @param detail the current step, shown instead of the initial label
   */
  update(done: number, total: number, detail?: string): void;
  /** Ends the display and clears it. */
  stop(): void;
}

/** Work shorter than this shows nothing. */
const quietMs = 1000;
/** How often the spinner is updated while work reports no progress. */
const waitingMs = 200;
/** Without a terminal, a line is written this often. */
const lineEveryMs = 10_000;

/** The most characters of what is in progress. */
const longestLabel = 160;

/** Shows progress: a spinner on a terminal, a line every 10 seconds elsewhere. */
export function showProgress(what: string, quiet = false): Progress {
  if (quiet) return { update() {}, stop() {} };
  const started = performance.now();
  // Terminals without a size exist (a serial line, `script`); ora would count lines there forever.
  const spinner =
    ora !== null && process.stderr.columns > 0
      ? ora({ text: shown(what, longestLabel), stream: process.stderr, discardStdin: false })
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
      const label = shown(detail, longestLabel);
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

/** The result of `work`; until it is there, a spinner shows `what`. */
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
