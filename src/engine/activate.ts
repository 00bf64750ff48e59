/** The first half of an FFN over bundles, gated or not. */

import { activationCodes } from '../kernels/constants.ts';
import type { NeuronKernels } from '../kernels/weight-kernels.ts';
import type { ModelSpec } from '../models/spec.ts';

/** Addresses are in the memory where the bundles lie. */
export interface ActivateCall {
  /** (positions, stride): the result, and scratch for gates. */
  readonly acts: number;
  readonly gates: number;
  readonly stride: number;
  /** (positions, hidden) */
  readonly x: number;
  /** u32 (count): where each bundle begins. */
  readonly bundles: number;
  /** Where the up row lies in a bundle; the gate's is at its beginning. */
  readonly upOffset: number;
  /** (count) each, or 0: of up rows, and of gates. */
  readonly bias: number;
  readonly gateBias: number;
  readonly count: number;
  readonly hidden: number;
  readonly positions: number;
  readonly scratch: number;
}

/** acts = act(up . x + bias), or act(gate . x + gateBias) times (act of) that. */
export function activateNeurons(
  { ffnUp, ffnGatedUp }: NeuronKernels,
  { activation, gate, threshold }: ModelSpec['ffn'],
  call: ActivateCall,
): void {
  const { acts, gates, stride, x, bundles, upOffset, bias, gateBias, count } = call;
  const { hidden, positions } = call;
  const code = activationCodes[activation];
  if (gate === 'none') {
    ffnUp(
      acts,
      x,
      bundles,
      bias,
      count,
      hidden,
      positions,
      hidden,
      stride,
      code,
      call.scratch,
      threshold,
    );
    return;
  }
  ffnGatedUp(
    acts,
    gates,
    x,
    bundles,
    upOffset,
    gateBias,
    bias,
    count,
    hidden,
    positions,
    hidden,
    stride,
    code,
    gate === 'both' ? code : activationCodes.none,
    call.scratch,
    threshold,
  );
}
