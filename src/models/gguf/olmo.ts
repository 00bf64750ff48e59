/** OLMo, all generations; the third has the architecture name of the second, and windows. */

import { relative } from './llama.ts';
import type { GgufArchitecture } from './translation.ts';

export const olmo = relative({
  name: 'olmo',
  modelType: 'olmo',
  activation: 'silu',
  pairs: true,
  layerNormEps: 'layer_norm_eps',
  fields: ({ keys }) => ({ clip_qkv: keys.numberOr('attention.clamp_kqv', null) }),
});

const later = {
  name: 'olmo2',
  activation: 'silu',
  names: {
    post_attention_norm: 'post_attention_layernorm',
    post_ffw_norm: 'post_feedforward_layernorm',
  },
} as const;

const second = relative({ ...later, modelType: 'olmo2' });
const third = relative({
  ...later,
  modelType: 'olmo3',
  fields: ({ keys }) => ({ sliding_window: keys.integer('attention.sliding_window') }),
});

export const olmo2: GgufArchitecture = {
  name: later.name,
  translate: (facts) =>
    (facts.metadata.get('olmo2.attention.sliding_window') === undefined ? second : third).translate(
      facts,
    ),
};
