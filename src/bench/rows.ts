/** What is compared: the rows of the paper's table 2, and the product as it comes. */

import type { RunRequest } from '../engine/run-request.ts';

export type RowName = 'naive' | 'hybrid' | 'predictor' | 'window' | 'bundling' | 'flashllm';

export interface RowSpec {
  readonly name: RowName;
  readonly title: string;
  /** What it does, for a reader who does not know the paper. */
  readonly what: string;
  /** What decides its plan. */
  readonly request: Pick<RunRequest, 'ffn' | 'residency'>;
  /** Whether the neurons of the last tokens are kept as the paper does it; else as we do. */
  readonly windowed: boolean;
  /** Whether a neuron is two scattered reads. */
  readonly unbundled: boolean;
}

export const rowSpecs: readonly RowSpec[] = [
  {
    name: 'naive',
    title: 'naive',
    what: 'nothing stays in DRAM: all weights are read for each token',
    request: { ffn: 'exact', residency: 'none' },
    windowed: false,
    unbundled: false,
  },
  {
    name: 'hybrid',
    title: 'hybrid',
    what: 'what fits the budget stays in DRAM, the rest is read for each token',
    request: { ffn: 'exact', residency: 'all' },
    windowed: false,
    unbundled: false,
  },
  {
    name: 'predictor',
    title: '+ predictor',
    what: 'attention and head in DRAM; of FFNs predicted neurons are read, none is kept',
    request: { ffn: 'sparse', residency: 'attention' },
    windowed: true,
    unbundled: true,
  },
  {
    name: 'window',
    title: '+ window',
    what: 'neurons of the last tokens are kept',
    request: { ffn: 'sparse', residency: 'all' },
    windowed: true,
    unbundled: true,
  },
  {
    name: 'bundling',
    title: '+ bundling',
    what: 'a neuron is one read',
    request: { ffn: 'sparse', residency: 'all' },
    windowed: true,
    unbundled: false,
  },
  {
    name: 'flashllm',
    title: 'flashllm',
    what: 'as it comes: neurons that are wanted most are kept',
    request: { ffn: 'sparse', residency: 'all' },
    windowed: false,
    unbundled: false,
  },
];

export const rowNames: readonly RowName[] = rowSpecs.map(({ name }) => name);

export function rowSpec(name: RowName): RowSpec {
  const found = rowSpecs.find((spec) => spec.name === name);
  if (found === undefined) throw new Error(`no row ${name}`);
  return found;
}

/** Whether a row computes predicted neurons only. */
export function needsPredictors({ request }: RowSpec): boolean {
  return request.ffn === 'sparse';
}
