/**
 * An FFN whose router chooses experts for each row. Missing experts are read while the shared FFN and the
 * experts in DRAM are computed; then the others are computed as they arrive.
 *
 *     router ── read missing ............................................
 *                └─ shared FFN │ experts that are there │ wait │ one that came │ the next ...  │ sum
 *
 * Where a router reads the layer's input, it runs before attention, so that reads hide behind attention, too.
 *
 * Contributions are summed in the order of the experts' numbers, whichever arrived first: the result is the
 * same to the bit at every budget, for every policy, and for any number of threads.
 */

import { formats } from '../dtype.ts';
import { matmulOf } from '../kernels/weight-kernels.ts';
import { type ExpertsSpec, expertsOf, tensorNames } from '../models/spec.ts';
import type { ExpertBuffers } from '../plan/activations.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import type { PresentExpert } from '../residency/early-experts.ts';
import type { ExpertStep, ExpertStores } from '../residency/expert-stores.ts';
import { memoryOf } from '../residency/packing.ts';
import type { DenseFfn } from './dense-ffn.ts';
import type { BegunFfn, Ffn, FfnCounts, FfnOutput } from './ffn.ts';
import type { FfnHook } from './ffn-hook.ts';
import type { LayerMath, LayerMathParts } from './layer-math.ts';
import { NextRouter } from './next-router.ts';
import { type ExpertRows, gatherRows, rowsByExpert, writeTables } from './routed-rows.ts';
import { type FfnInput, WeightSelection } from './selection.ts';
import { type Routing, route } from './selectors/router.ts';
import { vectorFrom } from './vector-from.ts';

const f32Bytes = 4;

export interface MixtureParts extends LayerMathParts {
  readonly math: LayerMath;
  readonly stores: ExpertStores;
  /** Computes layers without experts, and shared FFNs. */
  readonly dense: DenseFfn;
  readonly buffers: ExpertBuffers;
  /** Where kernels unpack weights. */
  readonly scratch: number;
  /** The most rows at once. */
  readonly chunk: number;
  /** Experts that a row takes. */
  readonly topK: number;
  /** The resident weights. */
  readonly residences: MemoryPlan['residences'];
}

/** The experts that a router chose, and the reads of the missing ones. */
interface RoutedStep {
  readonly selection: WeightSelection;
  readonly experts: readonly ExpertRows[];
  readonly step: ExpertStep;
  readonly routing: Routing;
}

export class MixtureFfn implements Ffn {
  readonly #parts: MixtureParts;
  readonly #selection: WeightSelection;
  readonly #guesses: NextRouter;
  /** The layer whose experts are read early. */
  #guessed: number | null = null;
  /** Per layer; null where it has no experts. */
  readonly #routings: readonly (Routing | null)[];
  /** Whether routers read the layer's input. */
  readonly #early: boolean;

  constructor(parts: MixtureParts) {
    this.#parts = parts;
    const { spec } = parts.files.manifest;
    this.#selection = new WeightSelection({
      units: spec.ffn.experts?.count ?? 0,
      rows: parts.chunk,
    });
    this.#guesses = new NextRouter(parts);
    this.#early = spec.ffn.experts?.early === true;
    const [{ memory }] = parts.arenas;
    this.#routings = Array.from({ length: spec.layers }, (_, layer) => {
      const experts = expertsOf(spec, layer);
      const { count = 0 } = experts ?? {};
      const address = parts.weights.vector(`${tensorNames.router(layer)}.correction`);
      const correction = address === 0 ? null : new Float32Array(memory.buffer, address, count);
      const { topK } = parts;
      return experts && routingOf({ ...experts, topK }, correction?.slice() ?? null);
    });
  }

  /**
   * Begins to read the experts that the next layer will probably want. The guess takes the input that the
   * layer would have if this layer's FFN and its own attention changed nothing. The layer's router still
   * decides which experts are computed.
   */
  #guess({ layer, residual, positions }: FfnInput): void {
    const { stores } = this.#parts;
    const next = layer + 1;
    if (positions > 1 || !this.#guesses.knows(next) || !stores.guesses(next)) return;
    stores.guess(next, this.#guesses.likeliest(next, residual));
    this.#guessed = next;
  }

  begin(input: FfnInput, hook?: FfnHook): BegunFfn {
    const routing = this.#routings[input.layer] ?? null;
    if (routing === null) return this.#parts.dense.begin(input, hook);
    return {
      finish: async (output) =>
        this.#finish(input, await this.#route(input, input.x, routing, hook), output),
      abandon: async () => {},
    };
  }

  async beginEarly(input: FfnInput, hook?: FfnHook): Promise<BegunFfn | null> {
    const routing = this.#routings[input.layer] ?? null;
    if (routing === null || !this.#early) return null;
    const routed = await this.#route(input, input.residual, routing, hook);
    return {
      finish: (output) => this.#finish(input, routed, output),
      abandon: () => routed.step.abandon(),
    };
  }

  /**
   * Runs the router, and begins to read those of its experts that are missing.
   * @param x (positions, hidden): the router's input
   */
  async #route(
    { layer, positions }: FfnInput,
    x: number,
    routing: Routing,
    hook: FfnHook | undefined,
  ): Promise<RoutedStep> {
    const { stores } = this.#parts;
    // Guesses may be left from a pass that was broken off.
    if (this.#guessed !== null && this.#guessed !== layer) await stores.abandonGuesses();
    this.#guessed = null;
    const logits = await this.#logits(layer, x, positions, routing);
    const selection = route(logits, positions, routing, this.#selection);
    hook?.routed?.(layer, selection, logits);
    const experts = rowsByExpert(selection);
    return { selection, experts, step: stores.begin(layer, byRows(experts)), routing };
  }

  async #finish(
    input: FfnInput,
    { selection, experts, step, routing }: RoutedStep,
    output: FfnOutput,
  ): Promise<FfnCounts> {
    const { stores, weights, arenas, buffers, files } = this.#parts;
    const { layer, positions } = input;
    const { hiddenSize: hidden } = files.manifest.spec;
    const [{ memory, kernels }] = arenas;
    writeTables(memory, buffers, experts, selection, routing.topK);
    this.#guess(input);
    let active = 0;
    try {
      await this.#shared(input, output.y);
      const ofExpert = new Map(experts.map((each) => [each.expert, each]));
      const compute = (place: PresentExpert) => {
        const rows = ofExpert.get(place.expert);
        if (rows === undefined) throw new Error(`no row takes expert ${place.expert}`);
        active += this.#expert(input, rows, place);
      };
      for (const place of step.present) compute(place);
      await step.eachMissing(compute);
    } catch (error) {
      await step.abandon();
      throw error;
    }
    const bias = weights.vector(tensorNames.expertDownBias(layer));
    const { contributions, choices } = buffers;
    kernels.addChoices(output.y, contributions, bias, choices, positions, routing.topK, hidden);
    const { k } = stores.layer(layer).units;
    return { neurons: positions * routing.topK * k, active };
  }

  /** (positions, experts): the router's product with the input. */
  async #logits(
    layer: number,
    x: number,
    positions: number,
    { experts }: Routing,
  ): Promise<Float32Array> {
    const { math, arenas, buffers } = this.#parts;
    await math.project(tensorNames.router(layer), buffers.logits, x, positions);
    const [{ memory }] = arenas;
    return new Float32Array(memory.buffer, buffers.logits, positions * experts);
  }

  /** y += the output of the shared FFN, times each row's weight where the model has such weights. */
  async #shared(input: FfnInput, y: number): Promise<void> {
    const { dense, files, weights, arenas, buffers, scratch } = this.#parts;
    const units = files.manifest.ffns[input.layer]?.find(({ name }) => name === 'shared');
    if (units === undefined) return;
    const [{ memory, kernels }] = arenas;
    const { x, positions, layer } = input;
    const { hiddenSize: hidden } = files.manifest.spec;
    const gate = weights.vector(tensorNames.sharedGate(layer));
    if (gate === 0) {
      await dense.compute(units, input, { y, bias: 0, gateBias: 0 });
      return;
    }
    const { shared, shares } = buffers;
    const matmul = matmulOf(kernels, formats.f32, true);
    matmul(shares, x, gate, 0, 1, hidden, positions, hidden, 1, scratch);
    new Uint8Array(memory.buffer, shared, positions * hidden * f32Bytes).fill(0);
    await dense.compute(units, input, { y: shared, bias: 0, gateBias: 0 });
    const logits = new Float32Array(memory.buffer, shares, positions);
    for (const [row, logit] of logits.entries()) {
      kernels.scale(shared + row * hidden * f32Bytes, hidden, 1 / (1 + Math.exp(-logit)));
    }
    kernels.add(y, shared, positions * hidden);
  }

  /** Computes the unweighted contribution of one expert to each row that takes it. */
  #expert({ layer, x }: FfnInput, own: ExpertRows, place: PresentExpert): number {
    const { stores, weights, arenas, buffers, files } = this.#parts;
    const { hiddenSize: hidden, ffn } = files.manifest.spec;
    const { units, packed } = stores.layer(layer);
    const { expert, arena, address } = place;
    const [{ kernels }] = arenas;
    const bias = (name: string) => vectorFrom(weights.vector(name), expert * units.k);
    return memoryOf(arenas, arena).expert({
      ...{ units, packed, address, expert, ffn, hidden },
      x: gatherRows(kernels, own, { x, target: buffers.gathered, tables: buffers }, hidden),
      y: buffers.contributions + own.first * hidden * f32Bytes,
      positions: own.rows.length,
      bias: bias(tensorNames.expertUpBias(layer)),
      gateBias: bias(tensorNames.expertGateBias(layer)),
    });
  }
}

function routingOf(
  { count, topK, score, normalise, scale, groups, jitter }: ExpertsSpec,
  correction: Float32Array | null,
): Routing {
  return {
    ...{ experts: count, topK, score, normalise, scale },
    ...(correction && { correction }),
    ...(groups && { groups }),
    ...(jitter !== undefined && { jitter }),
  };
}

/**
 * Orders experts by the number of rows that take them, most first: these deserve a slot most, and most rows
 * wait for them.
 */
function byRows(experts: readonly ExpertRows[]): Uint32Array {
  const sorted = [...experts].sort((a, b) => b.rows.length - a.rows.length || a.expert - b.expert);
  return Uint32Array.from(sorted, ({ expert }) => expert);
}
