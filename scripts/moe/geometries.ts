/** Well-known mixtures of experts, as their GGUF files describe them. */

import type { RotaryPositions } from '../../src/models/positions.ts';
import { value } from '../../test/support/gguf.ts';
import type { GgufEntry } from '../gguf/writer.ts';
import type { blockFormats } from './blocks.ts';

type FormatName = keyof typeof blockFormats;

export interface MoeGeometry {
  /** `general.architecture`, with which keys begin. */
  readonly architecture: string;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly experts: number;
  readonly topK: number;
  /** Of each expert. */
  readonly neurons: number;
  readonly vocab: number;
  readonly positions: number;
  readonly rotary: RotaryPositions;
  /** Norms of queries and keys: of each head, of all heads at once, or none. */
  readonly qkNorm: 'head' | 'whole' | 'none';
  /** Whether projections and experts have biases, and heads have sinks. */
  readonly biases: boolean;
  /** The norm before the FFN, as the architecture calls it. */
  readonly ffnNorm: 'ffn_norm' | 'post_attention_norm';
  readonly formats: {
    readonly embedding: FormatName;
    readonly head: FormatName;
    readonly attention: FormatName;
    readonly value: FormatName;
    readonly experts: FormatName;
  };
  /** Keys in addition to those that all models have, without the architecture's prefix. */
  readonly keys: readonly GgufEntry[];
}

const rotary = (theta: number, dims: number): RotaryPositions => ({
  ...{ kind: 'rotary', theta, dims, pairs: 'halves', scaling: { kind: 'none' } },
});

/** As llama.cpp's Q4_K_S has them: 4.5 bits per weight of experts. */
const fourBits: MoeGeometry['formats'] = {
  embedding: 'q4_k',
  head: 'q6_k',
  attention: 'q4_k',
  value: 'q6_k',
  experts: 'q4_k',
};

export const moeGeometries: Readonly<Record<string, MoeGeometry>> = {
  'qwen3-30b-a3b': {
    ...{ architecture: 'qwen3moe', layers: 48, hidden: 2048, heads: 32, kvHeads: 4, headDim: 128 },
    ...{ experts: 128, topK: 8, neurons: 768, vocab: 151_936, positions: 40_960 },
    ...{ rotary: rotary(1_000_000, 128), qkNorm: 'head', biases: false, ffnNorm: 'ffn_norm' },
    formats: fourBits,
    keys: [
      ['feed_forward_length', value.u32(6144)],
      ['expert_feed_forward_length', value.u32(768)],
    ],
  },
  'olmoe-1b-7b': {
    ...{ architecture: 'olmoe', layers: 16, hidden: 2048, heads: 16, kvHeads: 16, headDim: 128 },
    ...{ experts: 64, topK: 8, neurons: 1024, vocab: 50_304, positions: 4096 },
    ...{ rotary: rotary(10_000, 128), qkNorm: 'whole', biases: false, ffnNorm: 'ffn_norm' },
    formats: fourBits,
    keys: [['feed_forward_length', value.u32(1024)]],
  },
  'gpt-oss-20b': {
    ...{ architecture: 'gpt-oss', layers: 24, hidden: 2880, heads: 64, kvHeads: 8, headDim: 64 },
    ...{ experts: 32, topK: 4, neurons: 2880, vocab: 201_088, positions: 131_072 },
    rotary: {
      ...rotary(150_000, 64),
      scaling: {
        ...{ kind: 'yarn', factor: 32, trained: 4096, betaFast: 32, betaSlow: 1, truncate: false },
        attentionFactor: 0.1 * Math.log(32) + 1,
      },
    },
    ...{ qkNorm: 'none', biases: true, ffnNorm: 'post_attention_norm' },
    // 2880 is not a multiple of 256.
    formats: {
      embedding: 'q8_0',
      head: 'q8_0',
      attention: 'q8_0',
      value: 'q8_0',
      experts: 'mxfp4',
    },
    keys: [
      ['feed_forward_length', value.u32(2880)],
      ['expert_feed_forward_length', value.u32(2880)],
      ['attention.sliding_window', value.u32(128)],
      ['rope.scaling.type', value.text('yarn')],
      ['rope.scaling.factor', value.f32(32)],
      ['rope.scaling.original_context_length', value.u32(4096)],
    ],
  },
};
