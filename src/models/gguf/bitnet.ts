/**
 * BitNet: Llama's names, with norms before the projections that end a sublayer. Its weights are ternary and
 * its inputs rounded, by definition; the file says neither.
 */

import { InputError } from '../../errors.ts';
import { ternaryMethod } from '../ternary-config.ts';
import { relative } from './llama.ts';
import type { GgufArchitecture } from './translation.ts';

export const bitnet = relative({
  name: 'bitnet',
  modelType: 'bitnet',
  // Older files, which do not name it, mean this; files of the 2B4T model say relu2.
  activation: 'silu',
  names: { attn_sub_norm: 'self_attn.attn_sub_norm', ffn_sub_norm: 'mlp.ffn_sub_norm' },
  fields: ({ keys }) => ({
    hidden_act: keys.text('hidden_activation') ?? 'silu',
    quantization_config: { quant_method: ternaryMethod, linear_class: 'autobitlinear' },
  }),
});

/** Files of bitnet.cpp, whose blocks no other program reads. */
export const bitnetCpp: readonly GgufArchitecture[] = ['bitnet-b1.58', 'bitnet-25'].map((name) => ({
  name,
  translate: ({ file }) => {
    throw new InputError(
      `the architecture '${name}' belongs to bitnet.cpp, whose blocks (I2_S, TL1, TL2) are not supported`,
      { file },
      "Use the model's safetensors, or a GGUF file of llama.cpp in TQ1_0 or TQ2_0",
    );
  },
}));
