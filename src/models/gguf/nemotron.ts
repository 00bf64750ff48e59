/** Nemotron: layer norms, whose weights GGUF stores with the 1 that the checkpoint leaves out. */

import { byTables, geometryOf } from './common.ts';
import { blockNames, blockPrefix, decoderConfig, plainNames } from './llama.ts';
import type { GgufArchitecture } from './translation.ts';

const name = 'nemotron';

export const nemotron: GgufArchitecture = {
  name,
  translate(facts) {
    const geometry = geometryOf(facts, name);
    const { keys, rotaryDim, headDim } = geometry;
    return {
      config: {
        model_type: 'nemotron',
        ...decoderConfig(geometry),
        hidden_act: 'relu2',
        norm_eps: keys.number('attention.layer_norm_epsilon'),
        partial_rotary_factor: rotaryDim / headDim,
        attention_bias: keys.has('blk.0.attn_q.bias'),
        mlp_bias: keys.has('blk.0.ffn_up.bias'),
      },
      translate: (tensor) => {
        const found = byTables(tensor, plainNames, blockNames, blockPrefix);
        if (!/norm\.weight$/.test(tensor)) return found;
        return found?.map((translated) => ({ ...translated, add: -1 }));
      },
    };
  },
};
