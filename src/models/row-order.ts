/** Rows of a matrix in another order than they lie in. */

/** Says for each row of a result which row of the source it is. */
export interface RowOrder {
  readonly count: number;
  /** The row of the source that is row `row` here. */
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
