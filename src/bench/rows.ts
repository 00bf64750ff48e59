/** The rows that are compared: those of the paper's table 2, and flashllm with its defaults. */

import type { RunRequest } from '../engine/run-request.ts';

export type RowName = 'naive' | 'hybrid' | 'predictor' | 'window' | 'bundling' | 'flashllm';

export interface RowSpec {
  readonly name: RowName;
  readonly title: string;
  /** Description for a reader who does not know the paper. */
  readonly what: string;
  /** The request that decides its plan. */
  readonly request: Pick<RunRequest, 'ffn' | 'residency'>;
  /**
   * Whether the store uses the paper's window of the last tokens' neurons; else flashllm's default policy.
   */
  readonly windowed: boolean;
  /** Whether a neuron takes two scattered reads. */
  readonly unbundled: boolean;
}

export const rowSpecs: readonly RowSpec[] = [
  {
    name: 'naive',
    title: 'naive',
    what: 'no weights stay in DRAM: all of them are read for each token',
    request: { ffn: 'exact', residency: 'none' },
    windowed: false,
    unbundled: false,
  },
  {
    name: 'hybrid',
    title: 'hybrid',
    what: 'weights that fit the budget stay in DRAM, the others are read for each token',
    request: { ffn: 'exact', residency: 'all' },
    windowed: false,
    unbundled: false,
  },
  {
    name: 'predictor',
    title: '+ predictor',
    what: 'attention and head in DRAM; of FFNs, predicted neurons are read and none is kept',
    request: { ffn: 'sparse', residency: 'attention' },
    windowed: true,
    unbundled: true,
  },
  {
    name: 'window',
    title: '+ window',
    what: 'the neurons of the last tokens are kept',
    request: { ffn: 'sparse', residency: 'all' },
    windowed: true,
    unbundled: true,
  },
  {
    name: 'bundling',
    title: '+ bundling',
    what: 'each neuron is one read',
    request: { ffn: 'sparse', residency: 'all' },
    windowed: true,
    unbundled: false,
  },
  {
    name: 'flashllm',
    title: 'flashllm',
    what: 'the defaults: the neurons wanted most are kept',
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
