/** Model directories for tests, made by the command line itself. */

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CliResult, runCli, runCliWell } from './cli.ts';

/** What tests read of flash.json. */
export interface Manifest {
  readonly tensors: Readonly<
    Record<
      string,
      {
        readonly file: string;
        readonly shape: readonly number[];
        readonly offset: number;
        readonly bytes: number;
        readonly rowsPerBlock: number;
      }
    >
  >;
  readonly layers: readonly {
    readonly tensor: string;
    readonly neurons: number;
    readonly bundleBytes: number;
    readonly downOffset: number;
  }[];
}

/** Converts `checkpoint` to `model`. */
export async function convert(
  checkpoint: string,
  model: string,
  ...flags: string[]
): Promise<string> {
  await runCliWell(['convert', checkpoint, model, ...flags]);
  return model;
}

export function copyModel(model: string, to: string): string {
  cpSync(model, to, { recursive: true });
  return to;
}

export function readManifest(model: string): Manifest {
  return JSON.parse(readFileSync(join(model, 'flash.json'), 'utf8')) as Manifest;
}

/** Flips a bit of the byte at `offset`. */
export function flip(file: string, offset: number): void {
  const bytes = readFileSync(file);
  bytes[offset] = (bytes[offset] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

/**
 * Runs `args` with nearly the smallest `--dram-budget` that is accepted. The floor itself will not
 * do: what the process takes differs by some MiB from one run to the next.
 */
export async function runAtFloor(args: readonly string[]): Promise<CliResult> {
  const run = (mebibytes: number) => runCli([...args, '--dram-budget', `${mebibytes}MiB`]);
  const belowFloor = /below the floor of ([\d.]+) MiB/;
  const { stderr } = await run(1);
  const floor = Math.ceil(Number(belowFloor.exec(stderr)?.[1]));
  assert.ok(floor > 0, stderr);
  for (let budget = floor - 1; ; budget += 2) {
    const result = await run(budget);
    if (budget > floor + 16 || !belowFloor.test(result.stderr)) return result;
  }
}
