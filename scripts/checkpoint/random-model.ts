/**
 * Random checkpoints of real geometries whose FFNs have a given sparsity: how many neurons fire follows
 * from the normal distribution of their inputs. The rows that decide which neurons fire may have a limited
 * rank; with full rank, no predictor smaller than these rows could predict them.
 *
 *   OPT      the norm's output has length sqrt(hidden): the up bias is a quantile of that
 *   Falcon   without biases: the norm's bias meets rows whose mean is not 0
 *   Llama    without any bias: one coordinate of the state is large and constant, as is seen in real
 *            models, so that after the norm it is 1 and its column is a bias
 */

import { toF16 } from './halfs.ts';
import { type OptGeometry, optConfig, optGeometries, optTensors } from './opt.ts';
import { lowRankHalfs, randomHalfs } from './random-halfs.ts';
import type { MadeTensor } from './writer.ts';

export interface RandomModel {
  readonly config: Readonly<Record<string, unknown>>;
  readonly vocab: number;
  readonly tensors: readonly MadeTensor[];
}

export interface RandomOptions {
  /** Share of neurons that do not fire. */
  readonly sparsity: number;
  /** Rank of the matrix that decides which neurons fire; default: full. */
  readonly rank?: number | undefined;
}

export const randomGeometries: Readonly<Record<string, (options: RandomOptions) => RandomModel>> = {
  ...Object.fromEntries(
    Object.entries(optGeometries).map(([name, geometry]) => [
      name,
      (options: RandomOptions) => randomOpt(geometry, options),
    ]),
  ),
  'falcon-7b': (options) => randomFalcon(options),
  'llama-7b': (options) => randomLlama(options),
};

const deviation = 0.02;
let pool: ReturnType<typeof randomHalfs> | undefined;
/** Made when it is first needed. */
function normal(bytes: number): Iterable<Uint8Array> {
  pool ??= randomHalfs(deviation);
  return pool(bytes);
}

/** Rows that decide which neurons fire. */
function deciding(columns: number, rank: number | undefined, mean = 0) {
  return rank === undefined
    ? randomHalfs(deviation, mean)
    : lowRankHalfs({ columns, rank }, deviation, mean);
}

/** The quantile of a normal distribution for a share, found by bisection. */
function quantile(share: number): number {
  let [low, high] = [-8, 8];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (normalBelow(middle) < share) low = middle;
    else high = middle;
  }
  return low;
}

/** Share of a normal distribution below `x`: Simpson's rule over the density. */
function normalBelow(x: number): number {
  const steps = 512;
  const width = x / steps;
  const density = (t: number) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  let sum = density(0) + density(x);
  for (let i = 1; i < steps; i++) sum += (i % 2 === 1 ? 4 : 2) * density(i * width);
  return 0.5 + (sum * width) / 3;
}

const product = (shape: readonly number[]) => shape.reduce((all, n) => all * n, 1);

function random(
  name: string,
  shape: readonly number[],
  from: (bytes: number) => Iterable<Uint8Array> = normal,
): MadeTensor {
  return { name, shape, parts: () => from(2 * product(shape)) };
}

function constant(name: string, shape: readonly number[], value: number): MadeTensor {
  const halfs = () => new Uint16Array(product(shape)).fill(toF16(value));
  return { name, shape, parts: () => [new Uint8Array(halfs().buffer)] };
}

/** A vector of one value, or a matrix of random values, with another first value or first column. */
function withFirst(tensor: MadeTensor, value: number): MadeTensor {
  const columns = tensor.shape.at(-1) ?? 0;
  return {
    ...tensor,
    *parts() {
      let at = 0;
      for (const part of tensor.parts()) {
        const halfs = new Uint16Array(new Uint8Array(part).buffer); // a copy
        const before = (columns - (at % columns)) % columns;
        for (let i = before; i < halfs.length; i += columns) halfs[i] = toF16(value);
        at += halfs.length;
        yield new Uint8Array(halfs.buffer);
      }
    },
  };
}

export function randomOpt(geometry: OptGeometry, { sparsity, rank }: RandomOptions): RandomModel {
  const { hidden, vocab } = geometry;
  const bias = -quantile(sparsity) * deviation * Math.sqrt(hidden);
  const up = deciding(hidden, rank);
  const tensors = optTensors(geometry).map(({ name, shape, part }) => {
    if (part === 'fc1.weight') return random(name, shape, up);
    if (part === 'fc1.bias') return constant(name, shape, bias);
    if (part.includes('layer_norm')) return constant(name, shape, part.endsWith('bias') ? 0 : 1);
    return random(name, shape);
  });
  return { config: optConfig(geometry), vocab, tensors };
}

interface Geometry {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly ffn: number;
  readonly vocab: number;
}

const falcon7b = { hidden: 4544, layers: 32, heads: 71, ffn: 18176, vocab: 65024 };
const llama7b = { hidden: 4096, layers: 32, heads: 32, ffn: 11008, vocab: 32000 };

/** Queries of all heads share one key and value head; the head is tied. */
export function randomFalcon(
  { sparsity, rank }: RandomOptions,
  geometry: Geometry = falcon7b,
): RandomModel {
  const { hidden, layers, heads, ffn, vocab } = geometry;
  const headDim = hidden / heads;
  const normBias = 0.2;
  // A row's input: n, and the norm's bias, which adds to each row's spread as well as to its mean.
  const spread = deviation * Math.sqrt(hidden * (1 + normBias ** 2));
  const mean = (-quantile(sparsity) * spread) / (normBias * hidden);
  const up = deciding(hidden, rank, mean);
  const root = 'transformer';
  const tensors = [random(`${root}.word_embeddings.weight`, [vocab, hidden])];
  for (let layer = 0; layer < layers; layer++) {
    const at = `${root}.h.${layer}`;
    tensors.push(
      constant(`${at}.input_layernorm.weight`, [hidden], 1),
      constant(`${at}.input_layernorm.bias`, [hidden], normBias),
      random(`${at}.self_attention.query_key_value.weight`, [(heads + 2) * headDim, hidden]),
      random(`${at}.self_attention.dense.weight`, [hidden, hidden]),
      random(`${at}.mlp.dense_h_to_4h.weight`, [ffn, hidden], up),
      random(`${at}.mlp.dense_4h_to_h.weight`, [hidden, ffn]),
    );
  }
  tensors.push(
    constant(`${root}.ln_f.weight`, [hidden], 1),
    constant(`${root}.ln_f.bias`, [hidden], 0),
  );
  const config = {
    activation: 'relu',
    alibi: false,
    architectures: ['FalconForCausalLM'],
    bias: false,
    bos_token_id: 2,
    eos_token_id: 2,
    ffn_hidden_size: ffn,
    hidden_size: hidden,
    layer_norm_epsilon: 1e-5,
    max_position_embeddings: 2048,
    model_type: 'falcon',
    multi_query: true,
    new_decoder_architecture: false,
    num_attention_heads: heads,
    num_hidden_layers: layers,
    parallel_attn: true,
    tie_word_embeddings: true,
    torch_dtype: 'float16',
    vocab_size: vocab,
  };
  return { config, vocab, tensors };
}

/** A ReLU in place of the SiLU, and as many key and value heads as queries. */
export function randomLlama(
  { sparsity, rank }: RandomOptions,
  geometry: Geometry = llama7b,
): RandomModel {
  const { hidden, layers, heads, ffn, vocab } = geometry;
  // The first coordinate makes up nearly all of the state's length, so that the norm divides by it.
  const large = 10 * Math.sqrt(hidden);
  const state = randomHalfs(1);
  const small = randomHalfs(deviation / 20);
  const gate = deciding(hidden, rank);
  const norm = (name: string) => withFirst(constant(name, [hidden], 10), 1 / Math.sqrt(hidden));
  const gateBias = -quantile(sparsity) * deviation * Math.sqrt(hidden);
  const tensors = [withFirst(random('model.embed_tokens.weight', [vocab, hidden], state), large)];
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    tensors.push(
      norm(`${at}.input_layernorm.weight`),
      ...['q', 'k', 'v'].map((x) => random(`${at}.self_attn.${x}_proj.weight`, [hidden, hidden])),
      random(`${at}.self_attn.o_proj.weight`, [hidden, hidden], small),
      norm(`${at}.post_attention_layernorm.weight`),
      withFirst(random(`${at}.mlp.gate_proj.weight`, [ffn, hidden], gate), gateBias),
      random(`${at}.mlp.up_proj.weight`, [ffn, hidden]),
      random(`${at}.mlp.down_proj.weight`, [hidden, ffn], small),
    );
  }
  tensors.push(norm('model.norm.weight'), random('lm_head.weight', [vocab, hidden]));
  const config = {
    architectures: ['LlamaForCausalLM'],
    bos_token_id: 2,
    eos_token_id: 2,
    hidden_act: 'relu',
    hidden_size: hidden,
    intermediate_size: ffn,
    max_position_embeddings: 2048,
    model_type: 'llama',
    num_attention_heads: heads,
    num_hidden_layers: layers,
    num_key_value_heads: heads,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: false,
    torch_dtype: 'float16',
    vocab_size: vocab,
  };
  return { config, vocab, tensors };
}
