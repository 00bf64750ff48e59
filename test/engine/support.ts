/** Models for the engine's tests: converted once per test file, opened at a budget of their own. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConvertOptions, convertCheckpoint } from '../../src/convert/convert.ts';
import { Model } from '../../src/engine/model.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { Runtime } from '../../src/engine/runtime.ts';
import type { Sequence } from '../../src/engine/sequence.ts';
import type { TemporaryRoot } from '../support/temporary.ts';

const MIB = 1024 * 1024;

/** Converts `checkpoint` and returns the model's directory. */
export async function converted(
  root: TemporaryRoot,
  checkpoint: string,
  options: Pick<ConvertOptions, 'dtype'> = {},
): Promise<string> {
  const output = join(root.directory(), 'model');
  // The test process itself is larger than the default budget foresees.
  await convertCheckpoint({ ...options, checkpoint, output, dramBudget: 2048 * MIB });
  return output;
}

/** What a model's plans take for the process. */
function processBytesOf(model: Model): number {
  const { items } = model.floor({ context: 1 });
  const process = items.find(({ name }) => name === 'process');
  if (process === undefined) throw new Error('the floor has no item for the process');
  return process.bytes;
}

/**
 * Loads a model, gives it to `work`, and closes it.
 * @param weightBytes what the budget leaves for weights and caches besides the process itself
 */
export async function withRuntime<T>(
  dir: string,
  weightBytes: number,
  request: Omit<RunRequest, 'budget'>,
  work: (runtime: Runtime) => Promise<T>,
): Promise<T> {
  const model = await Model.open(dir);
  try {
    // What the model itself counts: this process changes from one moment to the next.
    const budget = processBytesOf(model) + weightBytes;
    const runtime = await Runtime.open(model, { ...request, budget });
    try {
      return await work(runtime);
    } finally {
      await runtime.close();
    }
  } finally {
    model.close();
  }
}

/** The same with a sequence of its own. */
export function withSequence<T>(
  dir: string,
  weightBytes: number,
  request: Omit<RunRequest, 'budget'>,
  work: (sequence: Sequence) => Promise<T>,
): Promise<T> {
  return withRuntime(dir, weightBytes, request, (runtime) => work(runtime.sequence()));
}

export function readFloats(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** Largest difference, relative to the largest expected magnitude. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let largest = 0;
  for (const [index, value] of expected.entries()) {
    difference = Math.max(difference, Math.abs((actual[index] ?? Number.NaN) - value));
    largest = Math.max(largest, Math.abs(value));
  }
  return difference / largest;
}
