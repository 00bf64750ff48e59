/**
 * The arrays that a unit store and its policy keep outside of the WebAssembly memories: one table,
 * from which the stores allocate them and the plan counts their bytes.
 */

type ArrayType =
  | Int32ArrayConstructor
  | Uint8ArrayConstructor
  | Float32ArrayConstructor
  | Float64ArrayConstructor;

/** An array with one element for each unit of a layer, or for each slot of its store. */
interface BookArray {
  readonly per: 'unit' | 'slot';
  readonly type: ArrayType;
}
type Book = Readonly<Record<string, BookArray>>;

/** The arrays of a book, by name. */
export type BookArrays<B extends Book> = {
  readonly [Name in keyof B]: InstanceType<B[Name]['type']>;
};

/** Arrays of `UnitStore`. */
export const unitStoreBook = {
  /** The slot of each unit, or -1. */
  slotOf: { per: 'unit', type: Int32Array },
  /**
   * The last step that wanted the unit in each slot: units that the current step wants must not be evicted.
   */
  wantedAt: { per: 'unit', type: Int32Array },
  /** 1 for units that were read ahead for the next step. */
  isInFlight: { per: 'unit', type: Uint8Array },
  /** The paper's `pointer`: the unit in each slot, or -1. */
  unitIn: { per: 'slot', type: Int32Array },
  /**
   * A stack of free slots from the front; from the back, slots of unwanted units whose reads are still in
   * flight.
   */
  free: { per: 'slot', type: Int32Array },
  /** Units that were read ahead for the next step. */
  inFlight: { per: 'slot', type: Int32Array },
} as const satisfies Book;

/**
 * Scratch for a step of a `UnitStore`: stores of several layers may share it, in the size of the largest one.
 */
export const unitStoreScratch = {
  /** The result of the step's lookup, for each entry of its list: the slot, and the state. */
  foundSlots: { per: 'unit', type: Int32Array },
  foundStates: { per: 'unit', type: Uint8Array },
  /** Entries of the list that are missing. */
  missing: { per: 'unit', type: Int32Array },
  /** Values of the items being sorted: entries of the list, or units. */
  worth: { per: 'unit', type: Float64Array },
  /** Units that may be evicted. */
  candidates: { per: 'unit', type: Int32Array },
} as const satisfies Book;

/** Arrays of `FrequencyPolicy`, and the `values` of `WindowPolicy`. */
export const policyBook = {
  values: { per: 'unit', type: Float64Array },
  prior: { per: 'unit', type: Float32Array },
} as const satisfies Book;

/** The plan's own arrays for each layer: see `LayerDemand`. */
const demandBook = {
  frequency: { per: 'unit', type: Float32Array },
} as const satisfies Book;

/** The arrays of one layer's book, zeroed. */
export function allocateBook<B extends Book>(
  book: B,
  { units, slots }: { readonly units: number; readonly slots: number },
): BookArrays<B> {
  const arrays = Object.entries(book).map(([name, { per, type }]) => [
    name,
    new type(per === 'unit' ? units : slots),
  ]);
  return Object.fromEntries(arrays) as BookArrays<B>;
}

/** Bytes of book-keeping for layers of the given numbers of units, with the most slots: one for each unit. */
export function bookkeepingBytes(units: readonly number[]): number {
  const perUnit = (...books: readonly Book[]) =>
    books
      .flatMap((book): BookArray[] => Object.values(book))
      .reduce((sum, { type }) => sum + type.BYTES_PER_ELEMENT, 0);
  const all = units.reduce((sum, count) => sum + count, 0);
  return (
    all * perUnit(unitStoreBook, policyBook, demandBook) +
    Math.max(0, ...units) * perUnit(unitStoreScratch)
  );
}
