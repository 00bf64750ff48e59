/** Biases and weights of norms, which are optional in a model. */

const f32Bytes = 4;

/** Address of a vector's value number `first`; 0 where there is no vector, whose address is 0. */
export function vectorFrom(vector: number, first: number): number {
  return vector === 0 ? 0 : vector + first * f32Bytes;
}
