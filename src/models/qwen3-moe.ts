/** Qwen3's mixtures of experts: the form of Qwen3 with experts in most layers. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { commonExperts } from './decoder-traits.ts';
import { qwenExperts } from './qwen-moe.ts';
import { qwen3Traits } from './qwen3.ts';
import { windowEverywhere } from './windows.ts';

export const qwen3Moe = decoderFamily(['qwen3_moe'], (at) => ({
  ...qwen3Traits(at),
  // By default a head is an equal share of the hidden size.
  defaults: { positions: 32_768, kvHeads: 4 },
  windows: boolean(at, 'use_sliding_window', false) ? windowEverywhere(at) : [],
  experts: {
    spec: qwenExperts(at, { count: 128, topK: 8, neurons: 768 }),
    forms: [commonExperts],
  },
}));
