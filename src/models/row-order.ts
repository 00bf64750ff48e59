/** Orders of a matrix's rows other than the stored one. */

/** Maps each row of a result to its row in the source. */
export interface RowOrder {
  readonly count: number;
  /** The row of the source for row `row` of the result. */
  readonly sourceOf: (row: number) => number;
}

/** The `count` rows from `first` on. */
export function rowsFrom(first: number, count: number): RowOrder {
  return { count, sourceOf: (row) => first + row };
}

/** The two halves of each head's rows, the second one first. */
export function halvesSwapped(heads: number, headDim: number): RowOrder {
  const half = headDim / 2;
  return {
    count: heads * headDim,
    sourceOf: (row) => (row % headDim < half ? row + half : row - half),
  };
}
