/** The items that a budget is spent on. */

import { formatBytes } from '../units.ts';

/** Every item that a plan may have, and its name. */
const names = {
  process: () => 'process',
  threads: ({ threads }: ItemFacts) => `compute threads (${threads})`,
  vectors: () => 'norms and biases',
  kvCache: (facts: ItemFacts) => `KV cache (${positionsOf(facts)}, ${facts.kvDtype})`,
  activations: ({ chunk }: ItemFacts) => `activations (${chunk} positions at once)`,
  rowStaging: () => 'row staging',
  weights: () => 'resident weights',
  ring: () => 'stream ring',
  headProposal: () => 'head, in 4 bits to propose with',
  predictors: () => 'predictors',
  bookkeeping: () => 'neuron book-keeping',
  sequences: ({ sequences }: ItemFacts) => `logits of ${sequences} sequences`,
  draft: () => 'draft',
  stores: () => 'neuron stores',
  staging: () => 'neuron staging',
  experts: () => 'expert slots',
  expertStaging: () => 'expert staging',
  expertBookkeeping: () => 'expert book-keeping',
  transferBuffers: () => 'transfer buffers',
  training: () => 'training',
  samples: ({ tokens }: ItemFacts) => `samples of ${tokens} tokens`,
} as const;

export type PlanItemId = keyof typeof names;

export interface PlanItem {
  readonly id: PlanItemId;
  /** The name shown to users. */
  readonly name: string;
  readonly bytes: number;
}

/** The facts that names contain. */
export interface ItemFacts {
  readonly threads: number;
  readonly positions: number;
  readonly sequences: number;
  readonly kvDtype: string;
  readonly chunk: number;
  /** Tokens of sample text, where predictors are trained. */
  readonly tokens?: number;
}

export function planItem(id: PlanItemId, bytes: number, facts: ItemFacts): PlanItem {
  return { id, name: names[id](facts), bytes };
}

/** The items and their sizes in one line. */
export function listItems(items: readonly PlanItem[]): string {
  return items.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(', ');
}

/** Positions of the cache, in words. */
function positionsOf({ sequences, positions }: ItemFacts): string {
  return sequences === 1
    ? `${positions} positions`
    : `${positions} positions of ${sequences} sequences`;
}
