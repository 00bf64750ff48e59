/**
 * What a GGUF file says, in the words of the Hugging Face checkpoint it was made from: the fields of
 * a config.json, and for each of its tensors those that the recipe of the family asks for. So
 * recipes need no knowledge of GGUF.
 */

import type { GgufMetadata } from '../../checkpoint/gguf/metadata.ts';
import type { RowOrder } from '../row-order.ts';

/** What a translation reads from. */
export interface GgufFacts {
  /** Path of the file, for messages. */
  readonly file: string;
  readonly metadata: GgufMetadata;
  /** Shapes of the tensors, rows first, by their names in the file. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** The values of `rope_freqs.weight`: what each rotary frequency is divided by. */
  readonly ropeFactors: Float32Array | null;
  /** Those of `rope_factors_short.weight` and `rope_factors_long.weight`, of sequences of either length. */
  readonly lengthFactors?: { readonly short: Float32Array; readonly long: Float32Array } | null;
}

/** A tensor of the checkpoint, made from one of the file. */
export interface Translated {
  readonly name: string;
  /** Its rows, where they are not those of the file in their order. */
  readonly rows?: RowOrder;
  /** Its shape, where the file has its values in another one. */
  readonly shape?: readonly number[];
  /** Added to every value; norms may be stored with an offset. */
  readonly add?: number;
}

export interface GgufTranslation {
  readonly config: Readonly<Record<string, unknown>>;
  /**
   * What becomes of a tensor: none, when it holds nothing the recipe asks for; undefined, when it is
   * unknown.
   */
  readonly translate: (name: string) => readonly Translated[] | undefined;
}

/** One value of `general.architecture`. */
export interface GgufArchitecture {
  readonly name: string;
  /** @throws InputError when metadata is missing, contradictory, or asks for what is not supported */
  translate(facts: GgufFacts): GgufTranslation;
}
