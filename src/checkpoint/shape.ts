/** Arithmetic on shapes from a file, in which any number may be wrong. */

/** Most dimensions a tensor may have: the limit of torch. */
export const maxDimensions = 64;

/** Whether a count, size or offset is exact in arithmetic: an integer in [0, 2^53). */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Product of `shape`, 1 for a scalar; undefined when it is too large to be exact. */
export function elementCount(shape: readonly number[]): number | undefined {
  // A zero anywhere means zero, however large the rest is.
  if (shape.includes(0)) return 0;
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  return elements;
}

/**
 * Checks the arguments of `SourceTensor.read`.
 * @throws RangeError when they do not fit: a bug in the caller, not a fault of the file.
 */
export function checkReadRange(
  name: string,
  elements: number,
  elementBytes: number,
  start: number,
  count: number,
  target: Uint8Array,
): void {
  if (!isCount(start) || !isCount(count) || start + count > elements) {
    throw new RangeError(
      `${name}: elements ${start} + ${count} are beyond its ${elements} elements`,
    );
  }
  if (target.byteLength !== count * elementBytes) {
    throw new RangeError(
      `${name}: a target of ${target.byteLength} bytes for ${count} x ${elementBytes} bytes`,
    );
  }
}
