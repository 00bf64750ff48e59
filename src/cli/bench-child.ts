/** Measures a row of `bench` in a process of its own: the same program, called with a request. */

import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { measureRow, type RowRequest, type RowRun } from '../bench/measure.ts';
import { InputError, InterruptedError, IoError } from '../errors.ts';
import { interruption } from './interrupt.ts';
import { printJson } from './terminal.ts';

/** In the child process: measures the requested row, and prints the run as JSON. */
export async function answerRequest(json: string): Promise<void> {
  printJson(await measureRow(JSON.parse(json) as RowRequest, interruption));
}

/** Measures a row in a fresh process. */
export async function measureApart(request: RowRequest): Promise<RowRun> {
  const [launcher = ''] = process.argv.slice(1);
  const args = [launcher, 'bench', request.model, '--row-request', JSON.stringify(request)];
  const child = spawn(process.execPath, [...process.execArgv, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stop = () => child.kill('SIGTERM');
  interruption.addEventListener('abort', stop);
  try {
    const ended = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => resolve({ code, signal }));
    });
    const [{ code, signal }, output, errors] = await Promise.all([
      ended,
      text(child.stdout),
      text(child.stderr),
    ]);
    if (interruption.aborted) throw new InterruptedError();
    if (code === 0) return JSON.parse(output) as RowRun;
    const said = errors
      .trim()
      .replace(/^error: /, '')
      .replace(/\.$/, '');
    const message = `row ${request.row}: ${said || `the process ended by ${signal ?? code}`}`;
    throw code === 2 ? new InputError(message) : new IoError(message);
  } finally {
    interruption.removeEventListener('abort', stop);
  }
}
