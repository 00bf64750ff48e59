/** Attention that computes keys and values from latent vectors, as in DeepSeek checkpoints. */

import type { RecipeBuilder } from './recipe-builder.ts';
import { type LatentSpec, type ModelSpec, type SourceRows, tensorNames } from './spec.ts';

/**
 * Queries, keys and values of a layer. The projection to keys and values may be one matrix, (heads (own +
 * value), rank), or two, as in newer GGUF files: keys (heads, rank, own), transposed, and values (heads,
 * value, rank). In checkpoints, the rotary values of a head follow the others; here they come first.
 * @param from the attention's prefix, such as `model.layers.0.self_attn`
 * @param bias whether latent projections have biases
 */
export function buildLatentAttention(
  build: RecipeBuilder,
  { hiddenSize, attention: { heads, headDim } }: ModelSpec,
  { queryRank, rank, rope, value }: LatentSpec,
  { layer, from, bias }: { readonly layer: number; readonly from: string; readonly bias: boolean },
): void {
  const own = headDim - rope;
  const norm = (name: string, source: string, width: number) =>
    build.norm(name, { source: `${from}.${source}`, bias: false, width });
  const parts = (name: string, source: string, shape: number[], rows: readonly SourceRows[]) =>
    build.addParts(
      name,
      rows.map((range) => ({ source: `${from}.${source}`, shape, rows: range })),
    );
  if (queryRank !== null) {
    const latent = { source: `${from}.q_a_proj`, bias };
    build.linear(tensorNames.latentQuery(layer), queryRank, hiddenSize, latent);
    norm(tensorNames.latentQueryNorm(layer), 'q_a_layernorm', queryRank);
  }
  const queries = Array.from({ length: heads }, (_, head) => [
    { first: head * headDim + own, count: rope },
    { first: head * headDim, count: own },
  ]).flat();
  const query = queryRank === null ? 'q_proj' : 'q_b_proj';
  const shape = [heads * headDim, queryRank ?? hiddenSize];
  parts(`${tensorNames.query(layer)}.weight`, `${query}.weight`, shape, queries);
  const latent = [
    { first: rank, count: rope },
    { first: 0, count: rank },
  ];
  const [name, source] = [tensorNames.latent(layer), 'kv_a_proj_with_mqa'];
  parts(`${name}.weight`, `${source}.weight`, [rank + rope, hiddenSize], latent);
  if (bias) parts(`${name}.bias`, `${source}.bias`, [rank + rope], latent);
  norm(tensorNames.latentNorm(layer), 'kv_a_layernorm', rank);
  const keyValue = `${from}.kv_b_proj`;
  const [keys, values] = [`${from}.k_b_proj.weight`, `${from}.v_b_proj.weight`];
  if (!build.has(`${keyValue}.weight`) && build.has(keys)) {
    const lying = { transposed: true, flattened: [heads * own, rank] };
    const rows = build.view(keys, 'rows', { shape: [heads, rank, own], ...lying });
    const ofEach = Array.from({ length: heads }, (_, head) => [
      { source: rows, shape: [heads * own, rank], rows: rangeOf(head, own) },
      { source: values, shape: [heads, value, rank], rows: rangeOf(head, value) },
    ]);
    build.addParts(`${tensorNames.keyValue(layer)}.weight`, ofEach.flat());
    return;
  }
  const linear = { source: keyValue, bias: false };
  build.linear(tensorNames.keyValue(layer), heads * (own + value), rank, linear);
  // Files may hold them a second time in the other form.
  build.ignore(keys, values);
}

/** The rows of one head, if each head has `count` rows. */
function rangeOf(head: number, count: number): SourceRows {
  return { first: head * count, count };
}
