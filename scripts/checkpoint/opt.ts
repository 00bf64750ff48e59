/** OPT's real geometries, and the names and shapes of their tensors. */

export interface OptGeometry {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly ffn: number;
  readonly vocab: number;
  readonly positions: number;
}

const real = (hidden: number, layers: number, heads: number): OptGeometry => ({
  ...{ hidden, layers, heads, ffn: 4 * hidden, vocab: 50272, positions: 2048 },
});

export const optGeometries: Readonly<Record<string, OptGeometry>> = {
  'opt-125m': real(768, 12, 12),
  'opt-1.3b': real(2048, 24, 32),
  'opt-2.7b': real(2560, 32, 32),
  'opt-6.7b': real(4096, 32, 32),
};

/** Rows of the position table that belong to no position. */
export const positionOffset = 2;

/** What a tensor is, in addition to its name. */
export interface OptTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** -1: outside of the layers. */
  readonly layer: number;
  /** The name without its layer: `fc1.weight`, `embed_tokens.weight`. */
  readonly part: string;
}

/** All tensors, in the order in which a token uses them. */
export function optTensors({
  hidden,
  layers,
  ffn,
  vocab,
  positions,
}: OptGeometry): readonly OptTensor[] {
  const tensors: OptTensor[] = [];
  const root = 'model.decoder';
  const add = (layer: number, part: string, ...shape: number[]) => {
    const name = layer < 0 ? `${root}.${part}` : `${root}.layers.${layer}.${part}`;
    tensors.push({ name, shape, layer, part });
  };
  const addPair = (layer: number, part: string, ...shape: number[]) => {
    add(layer, `${part}.weight`, ...shape);
    add(layer, `${part}.bias`, shape[0] ?? 0);
  };
  add(-1, 'embed_tokens.weight', vocab, hidden);
  add(-1, 'embed_positions.weight', positions + positionOffset, hidden);
  for (let layer = 0; layer < layers; layer++) {
    addPair(layer, 'self_attn_layer_norm', hidden);
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) {
      addPair(layer, `self_attn.${name}`, hidden, hidden);
    }
    addPair(layer, 'final_layer_norm', hidden);
    addPair(layer, 'fc1', ffn, hidden);
    addPair(layer, 'fc2', hidden, ffn);
  }
  addPair(-1, 'final_layer_norm', hidden);
  return tensors;
}

export function optConfig(geometry: OptGeometry): Record<string, unknown> {
  const { hidden, layers, heads, ffn, vocab, positions } = geometry;
  return {
    activation_function: 'relu',
    architectures: ['OPTForCausalLM'],
    bos_token_id: 2,
    do_layer_norm_before: true,
    eos_token_id: 2,
    ffn_dim: ffn,
    hidden_size: hidden,
    max_position_embeddings: positions,
    model_type: 'opt',
    num_attention_heads: heads,
    num_hidden_layers: layers,
    pad_token_id: 1,
    tie_word_embeddings: true,
    torch_dtype: 'float16',
    vocab_size: vocab,
    word_embed_proj_dim: hidden,
  };
}
