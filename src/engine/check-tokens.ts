import { InputError } from '../errors.ts';

/** @throws InputError when a token has no row in the embedding */
export function checkTokens(ids: readonly number[], vocabSize: number): void {
  const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (strange !== undefined) {
    throw new InputError(`${strange} is no token: the model has ids 0 to ${vocabSize - 1}`);
  }
}
