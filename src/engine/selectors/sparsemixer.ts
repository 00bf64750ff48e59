/**
 * The router of Phi's mixtures of experts, as it is without noise: one expert after the other is taken, and
 * its weight is its share among those that are left and nearly as good. A weight may so be 1 for each.
 */

/**
 * The experts of one row with their weights, the best first; of equals the first one, as `torch.max` has it.
 * @param logits (experts)
 * @param topK how many are taken
 * @param jitter others are near while they are at most twice this below, relative to the larger of both
 */
export function sparsemixerWeights(
  logits: Float32Array,
  topK: number,
  jitter: number,
): [expert: number, weight: number][] {
  const left = new Set(logits.keys());
  return Array.from({ length: topK }, (): [number, number] => {
    let best = -1;
    for (const expert of left) {
      if (best < 0 || (logits[expert] ?? 0) > (logits[best] ?? 0)) best = expert;
    }
    const most = logits[best] ?? 0;
    let sum = 0;
    for (const expert of left) {
      const logit = logits[expert] ?? 0;
      const distance = (most - logit) / Math.max(Math.abs(logit), most);
      // 0 / 0, where all are 0, is near, too.
      if (!(distance > 2 * jitter)) sum += Math.exp(logit - most);
    }
    left.delete(best);
    return [best, 1 / sum];
  });
}
