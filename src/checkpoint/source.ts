/**
 * What every foreign checkpoint format looks like to the rest of the project: named tensors whose
 * bytes are read by range, so that nothing ever needs a whole tensor in memory.
 */

/** Element types found in checkpoints. Those that are not `DType`s can be listed but not converted. */
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

export interface SourceTensor {
  /** Name in the checkpoint. */
  readonly name: string;
  readonly dtype: SourceDType;
  /** What the file holds, where values are dequantised in reading: the quantisation's name. */
  readonly storedAs?: string;
  /** The checkpoint's own dtype, where values are computed in reading. */
  readonly keptAs?: SourceDType;
  readonly shape: readonly number[];
  /** File that holds it, for messages. */
  readonly file: string;
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
  close(): Promise<void>;
}
