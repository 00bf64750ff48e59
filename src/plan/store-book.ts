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

/** Of `UnitStore`. */
export const unitStoreBook = {
  /** The slot of each unit, or -1. */
  slotOf: { per: 'unit', type: Int32Array },
  /** The step that wanted each unit in a slot last: of this step nothing may go. */
  wantedAt: { per: 'unit', type: Int32Array },
  /** 1 for units that were read ahead for the next step. */
  isInFlight: { per: 'unit', type: Uint8Array },
  /** The paper's `pointer`: the unit in each slot, or -1. */
  unitIn: { per: 'slot', type: Int32Array },
  /** From the front a stack of free slots; from the back those of unwanted units, still read into. */
  free: { per: 'slot', type: Int32Array },
  /** Units that were read ahead for the next step. */
  inFlight: { per: 'slot', type: Int32Array },
} as const satisfies Book;

/** What a step of a `UnitStore` works with: stores of several layers may share it, as large as the largest needs. */
export const unitStoreScratch = {
  /** What the step's lookup found, for each entry of its list: the slot, and the state. */
  foundSlots: { per: 'unit', type: Int32Array },
  foundStates: { per: 'unit', type: Uint8Array },
  /** Entries of the list that are missing. */
  missing: { per: 'unit', type: Int32Array },
  /** What is being sorted is worth so much: entries of the list, or units. */
  worth: { per: 'unit', type: Float64Array },
  /** Units that may be evicted. */
  candidates: { per: 'unit', type: Int32Array },
} as const satisfies Book;

/** Of `FrequencyPolicy`, and of `WindowPolicy` its `values`. */
export const policyBook = {
  values: { per: 'unit', type: Float64Array },
  prior: { per: 'unit', type: Float32Array },
} as const satisfies Book;

/** What the plan itself keeps of each layer: see `LayerDemand`. */
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

/** Bytes of book-keeping for layers of so many units, each with a slot for each unit, the most it can have. */
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
