/** The exports of the compute core as kernels. */

import type { DType } from '../dtype.ts';
import type { Kernels } from './kernels.ts';
import type { DTypeKernels, WeightFormat, WeightKernels } from './weight-kernels.ts';

/** Exports named as in assembly/index.ts. Adding a weight format is adding its row here. */
export function bindKernels(exports: WebAssembly.Exports): Kernels {
  /** The type is what the caller expects it to be: the one place where nothing checks it. */
  const get = <F>(name: string): F => {
    const found = exports[name];
    if (typeof found !== 'function') throw new TypeError(`the compute core has no ${name}`);
    return found as F;
  };
  const weights = (format: WeightFormat): WeightKernels => ({
    matmul: get(`matmul_${format}`),
    ffnUp: get(`ffn_up_${format}`),
    ffnGatedUp: get(`ffn_gated_up_${format}`),
    ffnSums: get(`ffn_sums_${format}`),
    ffnDown: get(`ffn_down_${format}`),
    ffnListSums: get(`ffn_list_sums_${format}`),
    ffnListDown: get(`ffn_list_down_${format}`),
    toF32: get(`${format}_to_f32`),
  });
  const row = (dtype: DType): DTypeKernels => ({
    ...weights(dtype),
    fromF32: get(`f32_to_${dtype}`),
    firstNonFinite: get(`first_non_finite_${dtype}`),
  });
  return {
    byDType: {
      f32: row('f32'),
      f16: row('f16'),
      bf16: row('bf16'),
      q8: row('q8'),
      q4: row('q4'),
    },
    packedF16: {
      ...weights('packed_f16'),
      packable: get('packable_f16'),
      pack: get('pack_f16'),
    },
    layerNorm: get('layer_norm'),
    rmsNorm: get('rms_norm'),
    attention: get('attention_f32'),
    attentionF16: get('attention_f16'),
    rotaryHalves: get('rotary_halves'),
    rotaryNeighbours: get('rotary_neighbours'),
    add: get('add'),
    fold: get('fold'),
    countActive: get('count_active'),
    positiveBits: get('positive_bits'),
    unionIds: get('union_ids'),
    wantedActs: get('wanted_acts'),
    multiply: get('multiply'),
    clamp: get('clamp'),
    scale: get('scale'),
    activation: get('activation'),
    transpose16: get('transpose_16'),
    transpose32: get('transpose_32'),
    copyRows: get('copy_rows'),
    gemm: get('gemm'),
    logisticGradient: get('logistic_gradient'),
    adamw: get('adamw'),
    readSum: get('read_sum'),
  };
}
