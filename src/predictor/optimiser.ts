/** AdamW over the parameters of a predictor, and its learning rate. */

import type { Address } from '../kernels/signature.ts';
import type { Workspace } from './workspace.ts';

const settings = {
  rate: 8e-3,
  beta1: 0.9,
  beta2: 0.99,
  decay: 1e-3,
};

export interface Parameters {
  /** f32 (count) */
  readonly weights: Address;
  readonly count: number;
  /** How many of them are biases, which do not decay; these are the last ones. */
  readonly biases: number;
}

export class AdamW {
  readonly #work: Workspace;
  readonly #parameters: Parameters;
  readonly #first: Address;
  readonly #second: Address;
  #steps = 0;

  /** Allocates two f32 for each parameter from the workspace. */
  constructor(work: Workspace, parameters: Parameters) {
    const { count } = parameters;
    this.#work = work;
    this.#parameters = parameters;
    this.#first = work.take(count);
    this.#second = work.take(count);
    work.floats(this.#first, count).fill(0);
    work.floats(this.#second, count).fill(0);
  }

  /** @param gradients f32 (count) */
  step(rate: number, gradients: Address): void {
    const { count, biases } = this.#parameters;
    this.#steps++;
    this.#update(0, count - biases, rate, gradients, settings.decay);
    this.#update(count - biases, biases, rate, gradients, 0);
  }

  #update(from: number, n: number, rate: number, gradients: Address, decay: number): void {
    const { beta1, beta2 } = settings;
    const skip = 4 * from;
    this.#work.kernels.adamw(
      this.#parameters.weights + skip,
      gradients + skip,
      this.#first + skip,
      this.#second + skip,
      n,
      rate,
      beta1,
      beta2,
      decay,
      1 / (1 - beta1 ** this.#steps),
      1 / (1 - beta2 ** this.#steps),
    );
  }
}

/** Warms up over a twentieth of the steps, then falls along a cosine. */
export function rateAt(step: number, steps: number): number {
  const warm = Math.max(1, steps / 20);
  if (step < warm) return (settings.rate * (step + 1)) / warm;
  return (
    (settings.rate * (1 + Math.cos((Math.PI * (step - warm)) / Math.max(1, steps - warm)))) / 2
  );
}
