/** Functions in double precision that the kernels are compared with. */
import type { KernelActivation } from '../../src/kernels/constants.ts';

/** By its series, or its continued fraction from 2.5 on. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 100; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

/** What the tests take for the threshold of fatrelu; exact in f32. */
export const fatreluThreshold = 0.125;

export const activations: Readonly<Record<KernelActivation, (x: number) => number>> = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
  relu2: (x) => Math.max(x, 0) ** 2,
  fatrelu: (x) => (x > fatreluThreshold ? x : 0),
};
