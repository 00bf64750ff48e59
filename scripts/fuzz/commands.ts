/** Runs our commands: within this process, which is fast, or as processes of their own, as users do. */

import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import { convertCommand } from '../../src/cli/convert.ts';
import { evalCommand } from '../../src/cli/eval.ts';
import { generateCommand } from '../../src/cli/generate.ts';
import { inspectCommand } from '../../src/cli/inspect.ts';
import { planCommand } from '../../src/cli/plan.ts';
import { predictTrainCommand } from '../../src/cli/predict-train.ts';
import { note } from '../../src/cli/terminal.ts';
import { FlashError } from '../../src/errors.ts';
import { launcher } from '../../test/support/cli.ts';
import { faultOfError, faultsOfText } from './judge.ts';
import { residentOf, Silence } from './processes.ts';
import { type Fault, hangMs, mostGrowthBytes } from './result.ts';

const commands = {
  convert: convertCommand,
  inspect: inspectCommand,
  plan: planCommand,
  generate: generateCommand,
  eval: evalCommand,
  'predict-train': predictTrainCommand,
} as const satisfies Record<string, () => Command>;
export type CommandName = keyof typeof commands;

export interface CommandResult {
  /** Whether it did its work. */
  readonly done: boolean;
  readonly stdout: string;
  /** The message of the refusal; empty if there was none. */
  readonly refusal: string;
  readonly faults: readonly Fault[];
}

/** Output is kept up to this length; the output of a command for a small file is shorter. */
const mostOutput = 4 * 2 ** 20; // UTF-16 units

/** Collects what is written to stdout and stderr while `work` runs. */
async function captured(work: () => Promise<void>): Promise<{ stdout: string; stderr: string }> {
  const out = { stdout: '', stderr: '' };
  const streams = ['stdout', 'stderr'] as const;
  const real = streams.map((name) => process[name].write);
  for (const name of streams) {
    process[name].write = (chunk: unknown) => {
      if (out[name].length < mostOutput) out[name] += String(chunk);
      return true;
    };
  }
  try {
    await work();
  } finally {
    for (const [index, name] of streams.entries()) {
      process[name].write = real[index] as typeof process.stdout.write;
    }
  }
  return out;
}

/** Runs a command in this process, and prints its error as the command line does. */
export async function runHere(name: CommandName, args: readonly string[]): Promise<CommandResult> {
  let failure: unknown = null;
  const out = await captured(async () => {
    try {
      await commands[name]()
        .exitOverride()
        .parseAsync([...args], { from: 'user' });
    } catch (error) {
      failure = error;
      if (error instanceof FlashError) note(`error: ${error.line}`);
    }
  });
  const fault = failure === null ? null : faultOfError(failure);
  const faults = faultsOfText({ ...out, json: args.includes('--json') });
  return {
    done: failure === null,
    stdout: out.stdout,
    refusal: failure instanceof FlashError ? failure.line : '',
    faults: fault === null ? faults : [fault, ...faults],
  };
}

/** What a process of its own takes to start. */
const startMs = 5_000;

/** Runs a command through the launcher; the build must exist. */
export async function runOutside(
  name: CommandName,
  args: readonly string[],
): Promise<CommandResult> {
  const child = spawn(process.execPath, [launcher, name, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (part: string) => {
      if (out[stream].length < mostOutput) out[stream] += part;
    });
  }
  let stopped = '';
  const stop = (why: string) => {
    stopped = why;
    child.kill('SIGKILL');
  };
  const pid = child.pid ?? 0;
  const silence = new Silence(pid);
  const watch = setInterval(() => {
    if (silence.exceeds(hangMs + startMs)) stop('hang of a process');
    if (residentOf(pid) > 2 * mostGrowthBytes) stop('memory of a process');
  }, 50);
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.on('close', (...end) => resolve(end));
  });
  clearInterval(watch);
  process.off('exit', end);
  const faults = faultsOfText({ ...out, json: args.includes('--json') });
  const detail = `${name}: exit code ${code}, ${signal}: ${out.stderr.slice(-1000)}`;
  const isFault = code === 1 && out.stderr.includes('a bug in flashllm');
  if (stopped !== '') faults.push({ kind: stopped, detail });
  else if (isFault || ![0, 1, 2].includes(code ?? -1)) {
    faults.push({ kind: `a process ends with ${code ?? signal}`, detail });
  }
  return {
    done: code === 0,
    stdout: out.stdout,
    refusal: code === 0 ? '' : out.stderr,
    faults,
  };
}
