/**
 * Gemma 2: norms before and after each sublayer, capped scores and logits, windows in every other layer.
 */

import { type ConfigFile, optionalPositive } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { gemmaTraits } from './gemma.ts';
import { windowByType } from './windows.ts';

/** Traits of Gemma 2 and 3. */
export function laterGemmaTraits(at: ConfigFile) {
  const traits = gemmaTraits(at);
  return {
    ...traits,
    norm: { ...traits.norm, placement: 'both' },
    names: { ffnNorm: 'pre_feedforward_layernorm' },
  } as const;
}

/** The factor on attention scores. */
export function scoreScale(at: ConfigFile): number {
  return (optionalPositive(at, 'query_pre_attn_scalar', 256) ?? 256) ** -0.5;
}

export const gemma2 = decoderFamily(
  ['gemma2'],
  (at) => {
    const traits = laterGemmaTraits(at);
    const softCap = optionalPositive(at, 'attn_logit_softcapping', 50);
    const logitSoftCap = optionalPositive(at, 'final_logit_softcapping', 30);
    return {
      ...traits,
      defaults: { ...traits.defaults, kvHeads: 4 },
      windows: windowByType(at, 2).windows,
      attention: { scale: scoreScale(at), ...(softCap !== null && { softCap }) },
      scales: { ...traits.scales, ...(logitSoftCap !== null && { logitSoftCap }) },
    };
  },
  { activationKeys: ['hidden_activation'] },
);
