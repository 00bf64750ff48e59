/** Options that several commands share, and the parsers of their values. */

import { InvalidArgumentError, Option } from 'commander';
import { type KvDType, kvDTypes } from '../dtype.ts';
import { mostSequences } from '../engine/run-request.ts';
import { InputError } from '../errors.ts';
import type { PolicyName } from '../residency/store-policy.ts';
import { parseSize, type Size } from '../units.ts';

/** The flags of every command that plans a model's memory. */
export interface PlanningFlags {
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly exact?: boolean;
  readonly experts?: number;
}

/** The flags of every command that runs a model. */
export interface RunFlags extends PlanningFlags {
  readonly window: PolicyName;
}

export function sizeArgument(text: string): Size {
  try {
    return parseSize(text, 'the value');
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InvalidArgumentError(
      error.hint === undefined ? 'It is out of range.' : `It is not a size. ${error.hint}.`,
    );
  }
}

export function numberArgument(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new InvalidArgumentError('It is not a number.');
  }
  return value;
}

export function countArgument(text: string): number {
  const value = numberArgument(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError('It is not a whole number.');
  }
  return value;
}

/** A parser of whole numbers from `least`, up to `most` if given. */
export function countFrom(least: number, most?: number): (text: string) => number {
  return (text) => {
    const value = countArgument(text);
    if (value >= least && value <= (most ?? value)) return value;
    const range = most === undefined ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

export function listArgument(text: string, list: readonly string[] = []): string[] {
  return [...list, text];
}

export function budgetOption(description: string): Option {
  return new Option('--dram-budget <size>', description).argParser(sizeArgument);
}

export function jsonOption(): Option {
  return new Option('--json', 'print one JSON object and nothing else on stdout');
}

/** Parses the number of sequences that are processed at once. */
export const parallelArgument = countFrom(1, mostSequences);

/** More threads than any machine needs; a larger number is a typing error. */
const mostThreads = 64;

export function threadsOption(): Option {
  return new Option(
    '--threads <n>',
    'compute threads; default: as many as the cores and the budget allow',
  ).argParser(countFrom(1, mostThreads));
}

export function kvDTypeOption(): Option {
  return new Option(
    '--kv-dtype <dtype>',
    'dtype of the KV cache; f16 takes half the memory but is not exact',
  )
    .choices(kvDTypes)
    .default('f32');
}

export function exactOption(): Option {
  return new Option(
    '--exact',
    'compute every neuron, as the dense model does, with activations in f32',
  );
}

export function expertsOption(): Option {
  return new Option(
    '--experts <k>',
    'for a mixture of experts: use k experts per token, fewer than the model was trained with; the output differs',
  ).argParser(countFrom(1));
}

/** The `experts` of a request; absent if the flag is. */
export function expertsOf({ experts }: { readonly experts?: number }): { experts?: number } {
  return experts === undefined ? {} : { experts };
}

export function windowOption(): Option {
  return new Option(
    '--window <k>',
    'keep the neurons or experts of the last k tokens in DRAM, as the paper does; auto: keep those used most often',
  )
    .default('auto')
    .argParser((text) => {
      if (text === 'auto') return 'auto';
      const k = countArgument(text);
      if (k < 1) throw new InvalidArgumentError('It must be auto or a whole number of at least 1.');
      return k;
    });
}

/** The `threads` of a request; absent if the flag is. */
export function threadsOf({ threads }: { readonly threads?: number }): { threads?: number } {
  return threads === undefined ? {} : { threads };
}
