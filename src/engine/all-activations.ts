/**
 * FFNs that norm or round the activations of all neurons as one row before the down projection, so that no
 * down column can be used before all activations are known. This class gathers the activations by position,
 * with 0 for neurons that are not computed; the norm and the rounding therefore depend neither on which
 * neurons are listed nor on how the list is cut into parts. It keeps the down columns whose memory would be
 * reused before then.
 */

import { type ModelSpec, tensorNames } from '../models/spec.ts';
import type { AllActivationsPlace } from '../plan/all-activations.ts';
import { LayerMath, type LayerMathParts } from './layer-math.ts';

export class AllActivations {
  readonly #math: LayerMath;
  readonly #spec: ModelSpec;
  readonly #memory: WebAssembly.Memory;
  readonly #place: AllActivationsPlace;
  readonly neurons: number;

  private constructor(parts: LayerMathParts, place: AllActivationsPlace) {
    this.#math = new LayerMath(parts);
    this.#spec = parts.files.manifest.spec;
    this.#memory = parts.arenas[0].memory;
    this.#place = place;
    this.neurons = this.#spec.ffn.neurons;
  }

  /** Null where the plan has no place for them, because no down projection waits. */
  static at(place: AllActivationsPlace | null, parts: LayerMathParts): AllActivations | null {
    return place && new AllActivations(parts, place);
  }

  /**
   * (neurons, bytes of a column) in the first memory: copies of the down columns of neurons that are not
   * resident.
   */
  get downs(): number {
    return this.#place.downs;
  }

  /** (positions, neurons), all 0. */
  begin(positions: number): Float32Array {
    return this.#values(positions).fill(0);
  }

  /** Norms and rounds them where the model does so. */
  finish(layer: number, positions: number): void {
    const [{ values }, { neurons: n }] = [this.#place, this];
    if (this.#spec.ffn.innerNorm === true) {
      const { kind } = this.#spec.norm;
      const rows = { n, rows: positions };
      this.#math.normRows(kind, tensorNames.ffnInnerNorm(layer), values, values, rows);
    }
    this.#math.roundInput(values, n, positions);
  }

  #values(positions: number): Float32Array {
    return new Float32Array(this.#memory.buffer, this.#place.values, positions * this.neurons);
  }
}
