/** The median of some numbers; of an even count the upper of the two middle ones; of none NaN. */
export function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
