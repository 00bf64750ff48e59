/** Plans without a model: manifests of any geometry, predictors of any rank. */

import { layoutModel } from '../../src/flash/layout.ts';
import type { Manifest, StoredTensor } from '../../src/flash/manifest.ts';
import { layoutPredictors, parsePredictors } from '../../src/flash/predictor-file.ts';
import { recipeOf } from '../../src/models/index.ts';
import type { PlanRequest } from '../../src/plan/request.ts';
import type { Dice } from './random.ts';

const MIB = 1024 * 1024;
/** What the process is said to take. */
const processBytes = 50 * MIB;

/** The manifest that a checkpoint of this geometry would get, its FFNs in neurons or in tiles. */
export function manifestOf(config: Record<string, unknown>, tile?: number): Manifest {
  const recipe = recipeOf({
    config: { model_type: 'opt', ...config },
    configFile: 'config.json',
    sourceNames: new Set(['decoder.embed_tokens.weight']),
    tensorCount: 1000,
  });
  const dtypes = { resident: 'f16', bundles: 'f16' } as const;
  const layout = layoutModel(recipe, { ...dtypes, ...(tile !== undefined && { tile }) });
  const tensors = [...layout.resident.tensors, ...layout.bundles.tensors].map(
    (tensor): [string, StoredTensor] => [tensor.name, { ...tensor, checksums: new Uint32Array() }],
  );
  return {
    crc32: '',
    producer: 'test',
    spec: recipe.spec,
    dtypes,
    ffns: layout.ffns,
    layers: layout.layers,
    files: {},
    tensors: new Map(tensors),
  };
}

/** OPT 125M's geometry. */
export const opt125m = manifestOf({
  hidden_size: 768,
  num_attention_heads: 12,
  num_hidden_layers: 12,
  ffn_dim: 3072,
  vocab_size: 50272,
  max_position_embeddings: 2048,
});

/** A plan's request for so many bytes beside the process. */
export function planRequestOf(
  manifest: Manifest,
  weightBudget: number,
  more: Partial<PlanRequest> = {},
) {
  return {
    manifest,
    dramBudget: processBytes + weightBudget,
    processBytes,
    context: 256,
    sequences: 1,
    positions: more.context ?? 256,
    kvDtype: 'f32',
    chunk: 64,
    logits: 'last',
    threads: 1,
    predictors: null,
    sparse: false,
    ...more,
  } as const;
}

/**
 * Predictors of random ranks; some layers have none.
 * @param share gives how often a neuron is wanted
 */
export function predictorsOf(
  manifest: Manifest,
  dice: Dice,
  share: () => number = () => dice.next() ** 4,
): NonNullable<PlanRequest['predictors']> {
  const report = { sparsity: 0.9, predicted: 0.1, recall: 1, precision: 1, mass: 1 };
  const shapes = manifest.layers.map(() =>
    dice.chance(0.2)
      ? null
      : { rank: dice.between(1, 30), relu: false, input: 'ffn' as const, report },
  );
  const contents = { producer: 'test', dtype: 'f16', layers: shapes, checksum: () => 0 } as const;
  const { header, bytes } = layoutPredictors(manifest, contents);
  const set = parsePredictors(header, manifest, { path: 'predictors', size: bytes });
  const layers = manifest.layers.map(({ neurons }) => ({
    neurons,
    frequency: Float32Array.from({ length: neurons }, share),
  }));
  return { set, layers };
}
