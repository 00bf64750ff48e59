/**
 * Ministral 3: the form of Mistral, extended by YaRN, with queries that are scaled up beyond the length of
 * its first training.
 */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { type ConfigFile, firstInteger, number } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { DecoderTraits } from './decoder-traits.ts';
import { rotaryFrom } from './rotary-config.ts';
import { windowEverywhere } from './windows.ts';

/** The family's rotary parameters if a file gives none. */
const unsaid = {
  rope_type: 'yarn',
  rope_theta: 1_000_000,
  factor: 16,
  original_max_position_embeddings: 16_384,
  beta_fast: 32,
  beta_slow: 1,
  mscale_all_dim: 1,
  mscale: 1,
  llama_4_scaling_beta: 0.1,
} as const;

export const ministral3 = decoderFamily(['ministral3'], (at): DecoderTraits => {
  const rope = ropeOf(at);
  const beta = number(rope, 'llama_4_scaling_beta', 0);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
    activation: 'silu',
    gate: 'linear',
    defaults: { positions: 262_144, kvHeads: 8, headDim: 128 },
    windows: at.config.sliding_window === undefined ? [] : windowEverywhere(at),
    attention: beta === 0 ? {} : { temperature: { beta, trained: trainedIn(rope) } },
    positions: (_at, headDim, trained) =>
      rotaryFrom(rope, at, headDim, trained, { partial: null, theta: unsaid.rope_theta }),
    bosId: 1,
    eosIds: [2],
  };
});

function ropeOf({ config, file }: ConfigFile): ConfigFile {
  const said = [config.rope_scaling, config.rope_parameters].find(
    (part) => isJsonObject(part) && Object.keys(part).length > 0,
  );
  return { config: isJsonObject(said) ? said : unsaid, file };
}

/** The sequence length of its training before the extension, in positions. */
function trainedIn(rope: ConfigFile): number {
  return firstInteger(rope, ['original_max_position_embeddings']);
}
