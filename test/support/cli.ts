/** Runs the command line as its users do: as a process of its own, through the launcher in `bin`. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export const launcher = fileURLToPath(new URL('../../bin/flashllm.cjs', import.meta.url));

export interface CliResult {
  /** Null when a signal ended the process. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  /** What stdin holds; without it stdin is empty. */
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** A command that runs ours: its name and its first arguments. */
  readonly under?: readonly [string, ...string[]];
}

export interface RunningCli {
  readonly child: ChildProcess;
  readonly finished: Promise<CliResult>;
}

/** Device profiles of the machine that runs the tests must not change what is planned. */
const unmeasured = { FLASHLLM_CACHE: join(tmpdir(), `flashllm-no-cache-${process.pid}`) };

/** Starts `flashllm` with `args`. */
export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  const { FORCE_COLOR: _, ...inherited } = process.env;
  const command = [...(options.under ?? []), process.execPath, launcher, ...args];
  const child = spawn(command[0] ?? '', command.slice(1), {
    env: { ...inherited, ...unmeasured, ...options.env },
    cwd: options.cwd,
    stdio: 'pipe',
  });
  child.stdin.on('error', () => {}); // a process that refuses its input early need not read it
  child.stdin.end(options.input ?? '');
  const ended = new Promise<Pick<CliResult, 'code' | 'signal'>>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  const finished = Promise.all([ended, text(child.stdout), text(child.stderr)]).then(
    ([{ code, signal }, stdout, stderr]) => ({ code, signal, stdout, stderr }),
  );
  return { child, finished };
}

/** Runs `flashllm` with `args` to its end. */
export function runCli(args: readonly string[], options?: CliOptions): Promise<CliResult> {
  return startCli(args, options).finished;
}

/** Runs `flashllm` with `args`, which must succeed. */
export async function runCliWell(
  args: readonly string[],
  options?: CliOptions,
): Promise<CliResult> {
  const result = await runCli(args, options);
  assert.equal(result.code, 0, `flashllm ${args.join(' ')}\n${result.stderr}`);
  return result;
}

/** Runs `flashllm` with `args` and `--json`; the object it prints. */
export async function runCliJson<T>(args: readonly string[], options?: CliOptions): Promise<T> {
  const { stdout } = await runCliWell([...args, '--json'], options);
  return JSON.parse(stdout) as T;
}

/**
 * Asserts that the input was refused: exit code 2, nothing on stdout, and on stderr one line without
 * a stack trace that holds every one of `parts`.
 */
export function assertRefused(result: CliResult, parts: readonly (string | RegExp)[]): void {
  const { code, stdout, stderr } = result;
  assert.equal(code, 2, `exit code ${code}\n${stderr}`);
  assert.equal(stdout, '');
  assert.match(stderr, /^error: [^\n]+\n$/, 'stderr is one line');
  for (const part of parts) {
    if (typeof part === 'string') assert.ok(stderr.includes(part), `${part}\nis not in\n${stderr}`);
    else assert.match(stderr, part);
  }
}

/** Asserts that the command line was refused: as above, with a second line that points to `--help`. */
export function assertWrongUsage(result: CliResult, parts: readonly (string | RegExp)[]): void {
  const hint = 'Run with --help for usage.\n';
  assert.ok(result.stderr.endsWith(hint), result.stderr);
  assertRefused({ ...result, stderr: result.stderr.slice(0, -hint.length) }, parts);
}
