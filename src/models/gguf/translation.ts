/**
 * Translates a GGUF file to the Hugging Face checkpoint it was made from: the fields of a config.json, and
 * for each of its tensors those that the family's recipe needs. So recipes need no knowledge of GGUF.
 */

import type { GgufMetadata } from '../../checkpoint/gguf/metadata.ts';
import type { RowOrder } from '../row-order.ts';

/** The input of a translation. */
export interface GgufFacts {
  /** Path of the file, for messages. */
  readonly file: string;
  readonly metadata: GgufMetadata;
  /** Shapes of the tensors, rows first, by their names in the file. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** The values of `rope_freqs.weight`: the divisors of the rotary frequencies. */
  readonly ropeFactors: Float32Array | null;
  /**
   * The values of `rope_factors_short.weight` and `rope_factors_long.weight`, for short and long sequences.
   */
  readonly lengthFactors?: { readonly short: Float32Array; readonly long: Float32Array } | null;
}

/** A tensor of the checkpoint that is derived from one of the file. */
export interface Translated {
  readonly name: string;
  /** Its rows, if they differ from those of the file or their order. */
  readonly rows?: RowOrder;
  /** Its shape, if the file stores its values in another one. */
  readonly shape?: readonly number[];
  /** Added to every value; norms may be stored with an offset. */
  readonly add?: number;
}

export interface GgufTranslation {
  readonly config: Readonly<Record<string, unknown>>;
  /**
   * The translation of a tensor: an empty list when the recipe does not need it; undefined when it is
   * unknown.
   */
  readonly translate: (name: string) => readonly Translated[] | undefined;
}

/** One value of `general.architecture`. */
export interface GgufArchitecture {
  readonly name: string;
  /** @throws InputError when metadata is missing, contradictory, or asks for an unsupported feature */
  translate(facts: GgufFacts): GgufTranslation;
}
