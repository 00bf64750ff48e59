/**
 * The angles of a rotary position embedding. Frequencies and angles are rounded to f32 as the reference
 * implementation rounds them, as models were trained with these values at large positions.
 */

import type { Kernels } from '../kernels/kernels.ts';
import type { RotaryPositions, RotaryScaling } from '../models/positions.ts';

const f = Math.fround;

/** Where cosines and sines of a chunk lie, (chunk, pairs) each. */
export interface RotaryPlace {
  readonly cosines: number;
  readonly sines: number;
}

/** Rotates queries and keys by their positions. */
export class Rotary {
  readonly #kernels: Kernels;
  readonly #positions: RotaryPositions;
  readonly #place: RotaryPlace;
  readonly #cosines: Float32Array;
  readonly #sines: Float32Array;
  /** Frequencies for positions within the trained length. */
  readonly #frequencies: Float32Array;
  /** The positions that the current angles belong to. */
  #prepared: Uint32Array | null = null;

  /**
   * @param chunk the most positions at once
   * @param context the longest sequence
   */
  constructor(
    memory: WebAssembly.Memory,
    kernels: Kernels,
    positions: RotaryPositions,
    place: RotaryPlace,
    chunk: number,
    context: number,
  ) {
    this.#kernels = kernels;
    this.#positions = positions;
    this.#place = place;
    const values = chunk * (positions.dims / 2);
    this.#cosines = new Float32Array(memory.buffer, place.cosines, values);
    this.#sines = new Float32Array(memory.buffer, place.sines, values);
    // Chosen by the longest planned sequence, not by its current length: a key's angles must fit those of
    // later queries.
    this.#frequencies = frequenciesOf(
      positions,
      positions.scaling.kind === 'longrope' ? context : 0,
    );
  }

  /**
   * Rotates `heads` heads of `headDim` values at `x`, in a row of `stride` values for each position.
   * @param positions (rows), not changed afterwards: angles are computed once for each array
   */
  apply(x: number, positions: Uint32Array, heads: number, headDim: number, stride: number): void {
    this.#prepare(positions);
    const { pairs, dims } = this.#positions;
    const { rotaryHalves, rotaryInterleaved } = this.#kernels;
    const turn = pairs === 'halves' ? rotaryHalves : rotaryInterleaved;
    const { cosines, sines } = this.#place;
    turn(x, cosines, sines, heads, headDim, dims / 2, positions.length, stride);
  }

  #prepare(positions: Uint32Array): void {
    if (positions === this.#prepared) return;
    const { scaling, dims } = this.#positions;
    const factor = 'attentionFactor' in scaling ? scaling.attentionFactor : 1;
    const pairs = dims / 2;
    positions.forEach((position, p) => {
      const frequencies = this.#frequenciesAt(position);
      for (let i = 0; i < pairs; i++) {
        const angle = f(position * (frequencies[i] ?? 0));
        this.#cosines[p * pairs + i] = f(Math.cos(angle)) * factor;
        this.#sines[p * pairs + i] = f(Math.sin(angle)) * factor;
      }
    });
    this.#prepared = positions;
  }

  /**
   * With `dynamic` scaling, the frequencies are those of a sequence that ends at the position, so that a
   * key's angles do not depend on how many positions are processed at once.
   */
  #frequenciesAt(position: number): Float32Array {
    const { scaling } = this.#positions;
    if (scaling.kind !== 'dynamic' || position < scaling.trained) return this.#frequencies;
    return frequenciesOf(this.#positions, position + 1);
  }
}

/** Angle per position of each pair; `length` counts with `dynamic` scaling and `longrope` only. */
export function frequenciesOf(
  { theta, dims, scaling }: RotaryPositions,
  length: number,
): Float32Array {
  const base = scaling.kind === 'dynamic' ? dynamicBase(theta, dims, scaling, length) : theta;
  const plain = Float32Array.from({ length: dims / 2 }, (_, i) => 1 / f(base ** f((2 * i) / dims)));
  switch (scaling.kind) {
    case 'none':
    case 'dynamic':
      return plain;
    case 'linear':
      return plain.map((frequency) => frequency / scaling.factor);
    case 'llama3':
      return plain.map((frequency) => byWavelength(frequency, scaling));
    case 'yarn':
      return byTurns(plain, theta, dims, scaling);
    case 'longrope': {
      const factors = length > scaling.trained ? scaling.long : scaling.short;
      return Float32Array.from(
        factors,
        (factor, i) => 1 / f(f(factor) * f(theta ** f((2 * i) / dims))),
      );
    }
  }
}

type Scaling<Kind extends RotaryScaling['kind']> = Extract<RotaryScaling, { kind: Kind }>;

/** NTK-aware scaling: the base grows, so that the lowest frequency spans the longer sequence. */
function dynamicBase(
  theta: number,
  dims: number,
  { factor, trained }: Scaling<'dynamic'>,
  length: number,
): number {
  const stretched = (factor * Math.max(length, trained)) / trained - (factor - 1);
  return theta * stretched ** (dims / (dims - 2));
}

function byWavelength(
  frequency: number,
  { factor, trained, lowFactor, highFactor }: Scaling<'llama3'>,
): number {
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < trained / highFactor) return frequency;
  if (wavelength > trained / lowFactor) return frequency / factor;
  const smooth = (trained / wavelength - lowFactor) / (highFactor - lowFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

/** YaRN: pairs that rotate often within the trained length keep their frequency; the others are scaled. */
function byTurns(
  plain: Float32Array,
  theta: number,
  dims: number,
  { factor, trained, betaFast, betaSlow, truncate }: Scaling<'yarn'>,
): Float32Array {
  /** The (fractional) pair that makes this many rotations. */
  const pairOf = (turns: number) =>
    (dims * Math.log(trained / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(0, truncate ? Math.floor(fast) : fast);
  const high = Math.min(dims - 1, truncate ? Math.ceil(slow) : slow);
  const width = low === high ? 0.001 : high - low;
  return plain.map((frequency, i) => {
    const scaled = Math.min(1, Math.max(0, (i - low) / width));
    return (frequency / factor) * scaled + frequency * (1 - scaled);
  });
}
