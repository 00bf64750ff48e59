/**
 * The router of Phi's mixtures of experts, without its noise: it takes one expert after the other, and the
 * expert's weight is its share among the remaining ones with nearly equal scores. Each weight may thus be 1.
 */

/**
 * The experts of one row with their weights, the best first; of equals the first one, as in `torch.max`.
 * @param logits (experts)
 * @param topK how many are taken
 * @param jitter others are nearly equal while they are at most twice this below, relative to the larger of
 * both
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
      // 0 / 0, where all are 0, counts as nearly equal, too.
      if (!(distance > 2 * jitter)) sum += Math.exp(logit - most);
    }
    left.delete(best);
    return [best, 1 / sum];
  });
}
