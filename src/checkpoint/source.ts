/**
 * What every foreign checkpoint format looks like to the rest of the project: named tensors whose
 * bytes are read by range, so that nothing ever needs a whole tensor in memory.
 */

import type { GgufDType } from '../dtype.ts';
import type { InputError } from '../errors.ts';

/** Supported element types. Those that are not `DType`s can be listed but not converted. */
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

/** The blocks of a quantised tensor as stored in its file, for callers that keep them. */
export interface StoredBlocks {
  readonly dtype: GgufDType;
  /**
   * Reads blocks [first, first + count) of the tensor, counted in row-major order, into `target` (count
   * times the bytes of a block, filled completely). Rows are whole blocks.
   * @throws InputError when the file is shorter than its header says; IoError when reading fails.
   */
  read(first: number, count: number, target: Uint8Array): Promise<void>;
}

export interface SourceTensor {
  /** Name in the checkpoint. */
  readonly name: string;
  /** `other` for unsupported types: a caller that needs the tensor throws its `refusal`. */
  readonly dtype: SourceDType | 'other';
  /** The type in the file if it is not `dtype`: the name of a quantisation, or of an `other` type. */
  readonly storedAs?: string;
  /** The checkpoint's own dtype, if values are computed while they are read. */
  readonly keptAs?: SourceDType | 'other';
  readonly refusal?: () => InputError;
  /** The format that holds all values exactly, if it is not the one of `dtype`. */
  readonly exactAs?: 'ternary';
  /** The blocks, if a model directory can hold them; absent if values are computed while they are read. */
  readonly blocks?: StoredBlocks;
  readonly shape: readonly number[];
  /** File that holds it, for messages. */
  readonly file: string;
  /**
   * For a matrix that its file stores transposed: the stored matrix, whose rows are the columns of this
   * one.
   */
  readonly turned?: SourceTensor;
  /** True when the values lie in row-major order without gaps, so that ranges are plain reads. */
  readonly contiguous: boolean;
  /**
   * Reads elements [start, start + count) in row-major order of `shape`, whatever their order in
   * the file, as little-endian bytes into `target` (count x element size bytes, filled completely).
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
  /** How many tensors an index lists, whether they exist or not. */
  readonly listed?: number;
  /** For a tensor that an index lists and no file holds: why it is missing. */
  readonly absent?: (name: string) => InputError | undefined;
  /** Names of tensors that an index leaves out, although a file holds them. */
  readonly unlisted?: ReadonlySet<string>;
  /** If several files hold a tensor: the copies that are not in `tensors`. */
  readonly copies?: readonly SourceTensor[];
  /**
   * Bytes at the beginning of two tensors that are compared to decide whether the tensors are equal, where
   * reading is expensive.
   */
  readonly mostCompared?: number;
  close(): Promise<void>;
}
