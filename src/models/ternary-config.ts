/**
 * Reads `quantization_config` of a model of any family with ternary weights (BitNet): the matrices of its
 * layers are -1, 0 or 1 times a scale, and their inputs are rounded to 8 bits.
 */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { boolean, type ConfigFile, text } from './config.ts';
import type { ModelSpec } from './spec.ts';

/** Its name in `quant_method`. */
export const ternaryMethod = 'bitnet';

/** The form of such weights in a checkpoint. */
export interface TernaryConfig {
  /** `online`: floats that are rounded when the model is used; `offline`: integers, with a scale beside them. */
  readonly mode: 'online' | 'offline';
  /** Whether weights are divided by that scale; else they are multiplied by it. */
  readonly divided: boolean;
}

const key = 'quantization_config';

/**
 * The form of the checkpoint's ternary weights; null if the configuration does not say that they are
 * ternary.
 * @throws InputError for an unsupported form
 */
export function ternaryConfig({ config, file }: ConfigFile): TernaryConfig | null {
  const found = config[key];
  if (!isJsonObject(found) || found.quant_method !== ternaryMethod) return null;
  const at = { config: found, file };
  const refuse = (what: string) => new InputError(`'${key}' ${what}: not supported`, { file });
  const linear = text(at, 'linear_class', 'bitlinear');
  const mode = text(at, 'quantization_mode', 'offline');
  if (linear !== 'bitlinear' && linear !== 'autobitlinear')
    throw refuse(`has linear_class '${linear}'`);
  if (mode !== 'online' && mode !== 'offline') throw refuse(`has quantization_mode '${mode}'`);
  if (boolean(at, 'use_rms_norm', false)) throw refuse('has a norm in every matrix (use_rms_norm)');
  const kept = found.modules_to_not_convert ?? [];
  if (
    !Array.isArray(kept) ||
    kept.some((name) => name !== 'lm_head' && name !== 'model.embed_tokens')
  ) {
    throw refuse('leaves matrices out (modules_to_not_convert)');
  }
  // The class that packs weights has only one mode.
  const auto = linear === 'autobitlinear';
  return { mode: auto ? mode : 'offline', divided: !auto };
}

/** The resulting field of a spec. */
export function inputBitsOf(at: ConfigFile): Pick<ModelSpec, 'inputBits'> {
  return ternaryConfig(at) === null ? {} : { inputBits: 8 };
}
