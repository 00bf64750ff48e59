/**
 * FFNs whose activations are normed, or rounded, as one row of all neurons before the down projection: no
 * column of that can be used before all activations are known. These are gathered here, position by
 * position, 0 for neurons that are not computed; so norm and rounding depend neither on which neurons are
 * listed nor on how they are cut. Down columns that would be gone by then are kept.
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

  /** Null where nothing waits, so that there is no place. */
  static at(place: AllActivationsPlace | null, parts: LayerMathParts): AllActivations | null {
    return place && new AllActivations(parts, place);
  }

  /** (neurons, bytes of a column) in the first memory: where columns of neurons that pass are kept. */
  get downs(): number {
    return this.#place.downs;
  }

  /** (positions, neurons), all 0. */
  begin(positions: number): Float32Array {
    return this.#values(positions).fill(0);
  }

  /** Norms and rounds them, as far as the model does. */
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
