/** Model directories for tests, made by the command line itself. */

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCli, runCliWell } from './cli.ts';

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

/** A budget just above the smallest that `generate` accepts for this model and so many tokens. */
export async function smallestBudget(model: string, ...flags: string[]): Promise<string> {
  const args = ['generate', model, '--prompt', '', '--dram-budget', '1MiB', ...flags];
  const { stderr } = await runCli(args);
  const floor = Number(/below the floor of (\d+) MiB/.exec(stderr)?.[1]);
  assert.ok(floor > 0, stderr);
  // The process itself does not take the same in every run.
  return `${floor + 8}MiB`;
}
