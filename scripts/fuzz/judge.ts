/** What a command may do with a hostile file: do its work, or say in one line why it cannot. */

import { CommanderError } from 'commander';
import { FlashError } from '../../src/errors.ts';
import type { Fault } from './result.ts';

/** Longest line about a file, in UTF-16 units. */
const longestMessage = 1_000;

/** C0 except tab and newline, DEL, C1: characters that control a terminal. */
const controls = /(?![\t\n])\p{Cc}/u;

/** What a command wrote, and how it ended. */
export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  /** Whether stdout is JSON, which escapes control characters. */
  readonly json: boolean;
}

/** The faults in the output of a command. */
export function faultsOfText({ stdout, stderr, json }: Outcome): Fault[] {
  const faults: Fault[] = [];
  const control = (where: string, text: string) => {
    const found = controls.exec(text);
    if (found === null) return;
    const around = text.slice(Math.max(0, found.index - 200), found.index + 200);
    faults.push({ kind: `control characters on ${where}`, detail: JSON.stringify(around) });
  };
  control('stderr', stderr);
  if (!json) control('stdout', stdout);
  const longest = stderr.split('\n').reduce((a, b) => (b.length > a.length ? b : a), '');
  if (longest.length > longestMessage) {
    const detail = `${longest.length}: ${longest.slice(0, 300)}`;
    faults.push({ kind: `a message above ${longestMessage} characters`, detail });
  }
  const error = stderr.slice(Math.max(0, stderr.indexOf('error: ')));
  if (error.startsWith('error: ') && error.trimEnd().includes('\n')) {
    faults.push({ kind: 'a message of several lines', detail: error.slice(0, 500) });
  }
  if (json && stdout !== '' && !isJson(stdout)) {
    faults.push({ kind: '--json prints no JSON', detail: stdout.slice(0, 500) });
  }
  return faults;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The fault in an error, if it is not one that is thrown on purpose. */
export function faultOfError(error: unknown): Fault | null {
  if (error instanceof FlashError) return null;
  if (error instanceof CommanderError) return { kind: 'usage error', detail: error.message };
  return uncaught(error);
}

/** A fault in the program: the class of the error, and the first line of our code in its stack. */
export function uncaught(error: unknown): Fault {
  if (!(error instanceof Error)) return { kind: `uncaught ${typeof error}`, detail: String(error) };
  const { stack = '', name, message } = error;
  const frame = stack.split('\n').find((line) => /[/\\](src|dist)[/\\]/.test(line)) ?? '';
  const place = /([\w.<>#]+) \(?.*[/\\](?:src|dist)[/\\](.*?):\d+:\d+/.exec(frame);
  const where = place === null ? 'nowhere of ours' : `${place[2]} ${place[1]}`;
  const code = (error as NodeJS.ErrnoException).code;
  const what = message.replace(/\d+/g, 'N').slice(0, 60);
  const said = code ?? (name === 'Error' ? what : '');
  return {
    kind: `uncaught ${name} in ${where} ${said}`.trim(),
    detail: `${message.slice(0, 500)}\n${stack}`,
  };
}
