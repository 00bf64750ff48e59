/** GLM-4-0414 and GLM-Z1: GLM-4 with norms before and after each sublayer. */

import { decoderFamily } from './decoder-family.ts';
import { glmTraits } from './glm.ts';

export const glm4 = decoderFamily(['glm4'], (at) => {
  const traits = glmTraits(at);
  return {
    ...traits,
    norm: { ...traits.norm, placement: 'both' },
    names: {
      attentionOutputNorm: 'post_self_attn_layernorm',
      ffnOutputNorm: 'post_mlp_layernorm',
    },
  };
});
