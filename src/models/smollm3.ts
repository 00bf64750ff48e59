/** SmolLM3: the form of Llama; every fourth layer uses no positions. */

import { boolean, type ConfigFile, firstInteger, integer, layerFlags, limits } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { windowByLayer } from './windows.ts';

export const smollm3 = decoderFamily(['smollm3'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  const told = toldLayers(at);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'silu',
    gate: 'linear',
    defaults: { positions: 32_768, kvHeads: 4, tiedHead: true },
    windows: at.config.sliding_window == null ? [] : windowByLayer(at, told.length),
    bias: { qkv: attention, out: attention, ffn: boolean(at, 'mlp_bias', false) },
    theta: 2_000_000,
    told,
    bosId: 128_000,
    eosIds: [128_001],
  };
});

/** For each layer, whether it uses positions: 1 in `no_rope_layers` means that it does. */
function toldLayers(at: ConfigFile): readonly boolean[] {
  const listed = layerFlags(at, 'no_rope_layers');
  if (listed !== null) return listed;
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  const every = firstInteger(at, ['no_rope_layer_interval'], 4);
  return Array.from({ length: layers }, (_, layer) => (layer + 1) % every !== 0);
}
