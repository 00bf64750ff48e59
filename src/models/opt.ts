/**
 * OPT (facebook/opt-125m ... opt-66b, galactica and relatives): learned positions with an offset of
 * 2, layer norm before or after each sublayer, fc1 -> relu or gelu -> fc2, optional projections
 * between a narrow embedding and the residual stream (opt-350m).
 */

import { InputError } from '../errors.ts';
import { boolean, integer, integers, optionalInteger, text } from './config.ts';
import type {
  Activation,
  BundleRecipe,
  CheckpointFacts,
  Family,
  ModelRecipe,
  ModelSpec,
  TensorRecipe,
} from './spec.ts';
import { role } from './spec.ts';

/** Real checkpoints use both; transformers writes the first. */
const prefixes = ['model.decoder.', 'decoder.', ''];

const activations: Readonly<Record<string, Activation>> = {
  relu: 'relu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
};

/** torch.nn.LayerNorm's default; OPT's config has no field for it. */
const layerNormEps = 1e-5;
const positionOffset = 2;

export const opt: Family = {
  modelTypes: ['opt'],
  recipe(facts) {
    const spec = describe(facts);
    return { spec, ...tensorsOf(spec, facts) };
  },
};

function describe({ config, configFile }: CheckpointFacts): ModelSpec {
  const at = { config, file: configFile };
  const hiddenSize = integer(at, 'hidden_size');
  const heads = integer(at, 'num_attention_heads');
  if (hiddenSize % heads !== 0) {
    throw new InputError(
      `hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${heads}`,
      { file: configFile },
    );
  }
  const activationName = text(at, 'activation_function', 'relu');
  const activation = activations[activationName];
  if (activation === undefined) {
    throw new InputError(
      `activation_function '${activationName}' is not supported for OPT`,
      { file: configFile },
      `Supported: ${Object.keys(activations).join(', ')}`,
    );
  }
  const headDim = hiddenSize / heads;
  const placement = boolean(at, 'do_layer_norm_before', true) ? 'pre' : 'post';
  return {
    family: 'opt',
    vocabSize: integer(at, 'vocab_size'),
    hiddenSize,
    embeddingSize: optionalInteger(at, 'word_embed_proj_dim', hiddenSize) ?? hiddenSize,
    layers: integer(at, 'num_hidden_layers'),
    maxPositions: integer(at, 'max_position_embeddings'),
    attention: { heads, kvHeads: heads, headDim, scale: headDim ** -0.5 },
    positions: { kind: 'learned', offset: positionOffset },
    norm: {
      kind: 'layer',
      eps: layerNormEps,
      placement,
      final: placement === 'pre' && !boolean(at, '_remove_final_layer_norm', false),
    },
    ffn: { neurons: integer(at, 'ffn_dim'), activation },
    tiedHead: boolean(at, 'tie_word_embeddings', true),
    bosId: optionalInteger(at, 'bos_token_id', 2),
    eosIds: integers(at, 'eos_token_id', [2]),
  };
}

function tensorsOf(
  spec: ModelSpec,
  { config, configFile, tensorNames }: CheckpointFacts,
): Omit<ModelRecipe, 'spec'> {
  const at = { config, file: configFile };
  const bias = boolean(at, 'enable_bias', true);
  const affine = boolean(at, 'layer_norm_elementwise_affine', true);
  const prefix =
    prefixes.find((candidate) => tensorNames.has(`${candidate}embed_tokens.weight`)) ?? prefixes[0];
  const { hiddenSize: hidden, embeddingSize: embedding, vocabSize: vocab } = spec;
  const neurons = spec.ffn.neurons;

  const tensors: TensorRecipe[] = [];
  const bundles: BundleRecipe[] = [];
  /** Stacks `sources`, each of `shape`, along the rows. */
  const add = (name: string, shape: readonly number[], ...sources: string[]) => {
    const [rows = 0, ...rest] = shape;
    tensors.push({
      name,
      shape: [rows * sources.length, ...rest],
      parts: sources.map((source) => ({ source, shape })),
    });
  };
  const addNorm = (name: string, source: string) => {
    if (!affine) return;
    add(`${name}.weight`, [hidden], `${source}.weight`);
    add(`${name}.bias`, [hidden], `${source}.bias`);
  };
  const addLinear = (name: string, ...sources: string[]) => {
    add(`${name}.weight`, [hidden, hidden], ...sources.map((source) => `${source}.weight`));
    if (bias) add(`${name}.bias`, [hidden], ...sources.map((source) => `${source}.bias`));
  };

  add(role.tokens, [vocab, embedding], `${prefix}embed_tokens.weight`);
  add(
    role.positions,
    [spec.maxPositions + positionOffset, hidden],
    `${prefix}embed_positions.weight`,
  );
  if (embedding !== hidden) {
    add(role.projectIn, [hidden, embedding], `${prefix}project_in.weight`);
    add(role.projectOut, [embedding, hidden], `${prefix}project_out.weight`);
  }
  for (let layer = 0; layer < spec.layers; layer++) {
    const from = `${prefix}layers.${layer}`;
    const attention = `${from}.self_attn`;
    addNorm(role.attentionNorm(layer), `${from}.self_attn_layer_norm`);
    addLinear(role.qkv(layer), `${attention}.q_proj`, `${attention}.k_proj`, `${attention}.v_proj`);
    addLinear(role.attentionOut(layer), `${attention}.out_proj`);
    addNorm(role.ffnNorm(layer), `${from}.final_layer_norm`);
    if (bias) {
      add(role.upBias(layer), [neurons], `${from}.fc1.bias`);
      add(role.downBias(layer), [hidden], `${from}.fc2.bias`);
    }
    bundles.push({
      name: role.bundles(layer),
      neurons,
      hiddenSize: hidden,
      up: `${from}.fc1.weight`,
      down: `${from}.fc2.weight`,
    });
  }
  if (spec.norm.final) addNorm(role.finalNorm, `${prefix}final_layer_norm`);
  if (!spec.tiedHead) add(role.head, [vocab, embedding], 'lm_head.weight');

  return {
    tensors,
    bundles,
    ignored: [...(spec.tiedHead ? ['lm_head.weight'] : []), `${prefix}version`],
  };
}
