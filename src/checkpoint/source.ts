/**
 * What every foreign checkpoint format looks like to the rest of the project: named tensors whose
 * bytes are read by range, so that nothing ever needs a whole tensor in memory.
 */

import type { GgufDType } from '../dtype.ts';
import type { InputError } from '../errors.ts';

/** Element types that are read. Those that are not `DType`s can be listed but not converted. */
export type SourceDType =
  | 'f64'
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'i64'
  | 'i32'
  | 'i16'
  | 'i8'
  | 'u8'
  | 'bool';

/** The blocks of a quantised tensor as its file has them, for who keeps them. */
export interface StoredBlocks {
  readonly dtype: GgufDType;
  /**
   * Reads blocks [first, first + count) of the tensor, counted in row-major order, into `target` (count
   * times a block's bytes, filled whole). Rows are whole blocks.
   * @throws InputError when the file is shorter than its header says; IoError when reading fails.
   */
  read(first: number, count: number, target: Uint8Array): Promise<void>;
}

export interface SourceTensor {
  /** Name in the checkpoint. */
  readonly name: string;
  /** `other` for what is not read: whoever needs the tensor throws its `refusal`. */
  readonly dtype: SourceDType | 'other';
  /** What the file holds, where that is not `dtype`: a quantisation's name, or that of an `other` type. */
  readonly storedAs?: string;
  /** The checkpoint's own dtype, where values are computed in reading. */
  readonly keptAs?: SourceDType | 'other';
  readonly refusal?: () => InputError;
  /** The format that holds all values exactly, where that is not the one of `dtype`. */
  readonly exactAs?: 'ternary';
  /** Of a tensor in blocks that a model directory can hold; absent where values are computed in reading. */
  readonly blocks?: StoredBlocks;
  readonly shape: readonly number[];
  /** File that holds it, for messages. */
  readonly file: string;
  /** Of a matrix that lies the other way in its file: that one, whose rows are this one's columns. */
  readonly turned?: SourceTensor;
  /** True when the values lie in row-major order without gaps, so that ranges are plain reads. */
  readonly contiguous: boolean;
  /**
   * Reads elements [start, start + count) in row-major order of `shape`, whatever their order in
   * the file, as little-endian bytes into `target` (count x element size bytes, filled whole).
   * @throws InputError when the file is shorter than its header says; IoError when reading fails.
   */
  read(start: number, count: number, target: Uint8Array): Promise<void>;
}

/** An opened checkpoint. */
export interface TensorSource {
  /** All tensors by name. Several names may share storage (a tied head). */
  readonly tensors: ReadonlyMap<string, SourceTensor>;
  /** Bytes of weights on disk, for progress and estimates. */
  readonly bytes: number;
  /** How many tensors an index lists, whether they are there or not. */
  readonly listed?: number;
  /** Of a tensor that an index lists and no file holds, why it is not there. */
  readonly absent?: (name: string) => InputError | undefined;
  /** Names of tensors that an index leaves out, although a file holds them. */
  readonly unlisted?: ReadonlySet<string>;
  /** Of tensors that several files hold, those that are not in `tensors`. */
  readonly copies?: readonly SourceTensor[];
  /** Bytes at the beginning of two tensors that decide whether they are one, where reading is dear. */
  readonly mostCompared?: number;
  close(): Promise<void>;
}
