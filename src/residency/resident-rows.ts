/**
 * Rows of a tensor that lie in DRAM one after the other: how they are read into their place, arranged for fast
 * computing, and found again.
 */

import { type Format, inFours, type RowFormat } from '../dtype.ts';
import { InterruptedError } from '../errors.ts';
import { type Manifest, rowsOf, type StoredTensor, weightFormat } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import { cutRows, type RowRange, spanOf } from '../flash/row-range.ts';
import { forEachParallel } from '../parallel.ts';
import type { ArenaAddress } from '../plan/arena-space.ts';
import { type Arrangement, memoryOf, packInPlace, type WeightMemory } from './packing.ts';
import { layApart, neuronsApart } from './rows-apart.ts';
import type { LoadedRows } from './weight-stream.ts';

const loadBytes = 1024 * 1024;
const loadsInFlight = 16;

/** A place for rows, at whose address the sectors that hold them begin. */
export interface PlacedRows extends RowRange, ArenaAddress {}

export class ResidentRows {
  readonly place: PlacedRows;
  /** Of the first row. */
  readonly address: number;
  /** How the first ones of the rows lie in memory; the others are as stored. */
  readonly arrangement: Arrangement;
  /** All of them, cut where the arrangement changes. */
  readonly pieces: readonly LoadedRows[];

  /** @param apart how many neurons, from the first on, are laid apart */
  private constructor(place: PlacedRows, stored: Format, arrangement: Arrangement, apart: number) {
    this.place = place;
    this.address = place.address + spanOf(place).skip;
    this.arrangement = arrangement;
    const { format, packed, rows } = arrangement;
    const { arena, count } = place;
    type How = Pick<LoadedRows, 'format' | 'packed' | 'apart'>;
    const piece = (from: number, to: number, how: How): LoadedRows[] => {
      const first = place.first + from;
      const address = this.addressOf(first);
      return from === to ? [] : [{ first, count: to - from, arena, address, ...how }];
    };
    this.pieces = [
      ...piece(0, apart, { format, packed, apart: true }),
      ...piece(apart, rows, { format, packed, apart: false }),
      ...piece(rows, count, { format: stored, packed: false, apart: false }),
    ];
  }

  /** Rows that lie as they are stored. */
  static asStored(place: PlacedRows, manifest: Manifest): ResidentRows {
    const format = storedFormat(place.tensor, manifest);
    return new ResidentRows(place, format, { format, packed: false, rows: place.count }, 0);
  }

  /** Packs these rows, if their format can be packed, and lays those of neurons apart. */
  arranged(memories: readonly WeightMemory[], manifest: Manifest): ResidentRows {
    const { place, address } = this;
    const { tensor, count } = place;
    const memory = memoryOf(memories, place.arena);
    const arrangement = packInPlace(memory, manifest, tensor, address, count);
    const layer = manifest.layers.find((each) => each.tensor === tensor.name);
    if (layer !== undefined) layApart(memory.memory, address, count, layer);
    const apart = layer === undefined ? 0 : neuronsApart(count);
    return new ResidentRows(place, storedFormat(tensor, manifest), arrangement, apart);
  }

  /** Where a row begins; in a format of four rows, only a row that begins four has an address. */
  addressOf(row: number): number {
    return this.address + (row - this.place.first) * rowsOf(this.place.tensor).rowBytes;
  }

  has(row: number): boolean {
    const { first, count } = this.place;
    return row >= first && row < first + count;
  }
}

/** The format in which rows of a tensor are stored. */
export function storedFormat(tensor: StoredTensor, manifest: Manifest): Format<RowFormat> {
  const format = weightFormat(tensor, manifest);
  if (inFours(format)) throw new Error(`${tensor.name} is stored in ${format.name}`);
  return format as Format<RowFormat>;
}

export interface LoadRowsOptions {
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called when all rows of a place have arrived, while others are still being read. */
  readonly onLoaded?: ((place: PlacedRows) => void) | undefined;
}

/**
 * Reads rows to their places. After a failure no read is in flight.
 * @throws InterruptedError when the signal aborts
 */
export async function loadRows(
  files: ModelFiles,
  memories: readonly WeightMemory[],
  places: readonly PlacedRows[],
  { onProgress, signal, onLoaded }: LoadRowsOptions = {},
): Promise<void> {
  const left = new Map<PlacedRows, number>();
  // Read in place: a place begins at a sector, as does the span in the file.
  const pieces = places.flatMap((place) => {
    const { tensor, first, count, address } = place;
    const base = address - spanOf(place).start;
    const ranges = cutRows(tensor, loadBytes, first, first + count);
    left.set(place, ranges.length);
    return ranges.map((range) => ({ range, place, base }));
  });
  const total = pieces.reduce((sum, { range }) => sum + spanOf(range).bytes, 0);
  let done = 0;
  await forEachParallel(pieces, loadsInFlight, async ({ range, place, base }) => {
    if (signal?.aborted) throw new InterruptedError();
    const { start, bytes } = spanOf(range);
    const { memory } = memoryOf(memories, place.arena);
    // Reads them as prefetches: many are in flight, so none needs to be split.
    await files.readRows(range, memory, base + start, 'prefetch');
    done += bytes;
    onProgress?.(done, total);
    // Neighbouring pieces share a sector, so the rows may be changed only after the last piece was read.
    const others = (left.get(place) ?? 0) - 1;
    left.set(place, others);
    if (others === 0) onLoaded?.(place);
  });
}
