/** Tiles and experts against double precision, whatever their width, gates and formats. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteLength, type EncodedDType } from '../../src/dtype.ts';
import { Arena } from '../../src/engine/arena.ts';
import { gatherRows, rowsByExpert, writeTables } from '../../src/engine/routed-rows.ts';
import { computeRowUnits, type RowUnitPlace } from '../../src/engine/row-units.ts';
import { WeightSelection } from '../../src/engine/selection.ts';
import { type FfnUnits, layoutUnit } from '../../src/flash/ffn-units.ts';
import { kernelSizes } from '../../src/kernels/constants.ts';
import { instantiateKernels } from '../../src/kernels/module.ts';
import { scratchBytes } from '../../src/kernels/weight-kernels.ts';
import type { ModelSpec } from '../../src/models/spec.ts';
import { createMemory } from '../../src/pages.ts';
import { activationValues, neuronBlock } from '../../src/plan/activations.ts';
import { Dice } from '../support/random.ts';

const memory = createMemory(32 * 2 ** 20);
const kernels = await instantiateKernels(memory);
const dice = new Dice(41);
const f32 = (address: number, n: number) => new Float32Array(memory.buffer, address, n);

/** Hands out places, each filled with NaN. */
class Places {
  #next = 65536;
  take(bytes: number): number {
    const address = this.#next;
    this.#next = Math.ceil((address + bytes) / 64) * 64;
    assert.ok(this.#next <= memory.buffer.byteLength);
    new Uint8Array(memory.buffer, address, bytes).fill(0xff);
    return address;
  }
  values(n: number, value: () => number): number {
    const address = this.take(4 * n);
    f32(address, n).set(Array.from({ length: n }, value));
    return address;
  }
}

interface Problem {
  readonly units: FfnUnits;
  readonly place: RowUnitPlace;
  /** Per unit its address and each part as f32. */
  readonly placed: readonly { readonly address: number; readonly parts: readonly Float32Array[] }[];
  readonly ffn: ModelSpec['ffn'];
  readonly hidden: number;
  readonly k: number;
}

const signed = () => dice.next() * 2 - 1;

function problem(
  places: Places,
  kind: 'tile' | 'expert',
  dtype: EncodedDType,
  packed: boolean,
): Problem {
  const quantised = dtype === 'q8' || dtype === 'q4';
  const k = quantised ? 32 * dice.between(1, 4) : dice.pick([2, 7, 64, 150, 1500]);
  const hidden = quantised ? 32 * dice.between(1, 3) : dice.between(1, 90);
  const chunk = dice.pick([1, 2, 5]);
  const gate = dice.pick(['none', 'linear', 'both'] as const);
  const ffn: ModelSpec['ffn'] = {
    neurons: k,
    activation: dice.pick(['relu', 'silu', 'relu2', 'fatrelu']),
    gate,
    threshold: 0.2,
  };
  const layout = layoutUnit({
    kind,
    k,
    hiddenSize: hidden,
    gated: gate !== 'none',
    dtypeOf: () => dtype,
  });
  const units: FfnUnits = { name: 'ffn', tensor: 'units', kind, k, count: 3, ...layout };
  const placed = Array.from({ length: units.count }, () => {
    const address = places.take(units.unitBytes);
    const parts = units.parts.map(({ offset, shape: [rows, columns] }) => {
      const rowBytes = byteLength(dtype, columns);
      const plain = places.values(columns, signed);
      const values = new Float32Array(rows * columns);
      for (let row = 0; row < rows; row++) {
        f32(plain, columns).set(Array.from({ length: columns }, signed));
        const target = address + offset + row * rowBytes;
        kernels.byDType[dtype].fromF32(target, plain, columns);
        kernels.byDType[dtype].toF32(plain, target, columns);
        values.set(f32(plain, columns), row * columns);
      }
      if (packed) kernels.packedF16.pack(address + offset, 1, rowBytes, rows, columns);
      return values;
    });
    return { address, parts };
  });
  const values = 4 * activationValues(chunk, k);
  const place = {
    chunk,
    neurons: places.take(values),
    gates: places.take(values),
    sums: places.values(chunk * hidden, () => 0),
    scratch: places.take(scratchBytes(Math.max(k, hidden))),
  };
  return { units, place, placed, ffn, hidden, k };
}

/** One unit's contribution to one row, in double precision. */
function expected(
  { units, ffn, hidden, k }: Problem,
  parts: readonly Float32Array[],
  x: Float32Array,
  bias: Float32Array | null,
  gateBias: Float32Array | null,
): { y: number[]; active: number } {
  const act = (value: number) => {
    if (ffn.activation === 'silu') return value / (1 + Math.exp(-value));
    if (ffn.activation === 'fatrelu') return value > ffn.threshold ? value : 0;
    const positive = Math.max(0, value);
    return ffn.activation === 'relu2' ? positive * positive : positive;
  };
  const part = (name: string) => parts[units.parts.findIndex((each) => each.part === name)];
  const dot = (matrix: Float32Array, row: number, columns: number, other: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < columns; i++) sum += (matrix[row * columns + i] ?? 0) * (other[i] ?? 0);
    return sum;
  };
  const [gate, up, down] = [part('gate'), part('up'), part('down')];
  assert.ok(up && down);
  const acts = Array.from({ length: k }, (_, i) => {
    const u = dot(up, i, hidden, x) + (bias?.[i] ?? 0);
    if (gate === undefined) return act(u);
    const g = act(dot(gate, i, hidden, x) + (gateBias?.[i] ?? 0));
    return g * (ffn.gate === 'both' ? act(u) : u);
  });
  const y = Array.from({ length: hidden }, (_, row) => dot(down, row, k, acts));
  return { y, active: acts.filter((value) => value !== 0).length };
}

function close(actual: Float32Array, wanted: readonly number[], bound: number, what: string): void {
  const largest = Math.max(1e-3, ...wanted.map(Math.abs));
  wanted.forEach((value, i) => {
    const error = Math.abs((actual[i] ?? Number.NaN) - value) / largest;
    assert.ok(error <= bound, `${what}: ${actual[i]} for ${value}`);
  });
}

const formats: readonly (readonly [EncodedDType, boolean])[] = [
  ['f32', false],
  ['f16', false],
  ['f16', true],
  ['bf16', false],
  ['q8', false],
  ['q4', false],
];
/** Activations are quantised for q8 and q4. */
const boundOf = (dtype: EncodedDType) => (dtype === 'q8' || dtype === 'q4' ? 0.02 : 2e-5);

for (const [dtype, packed] of formats) {
  test(`tiles in ${packed ? 'packed ' : ''}${dtype} add what their neurons contribute`, () => {
    for (let round = 0; round < 20; round++) {
      const places = new Places();
      const made = problem(places, 'tile', dtype, packed);
      const { units, place, placed, ffn, hidden, k } = made;
      const positions = dice.between(1, place.chunk);
      const x = places.values(positions * hidden, signed);
      const y = places.values(positions * hidden, signed);
      const biased = dice.chance(0.5);
      const bias = biased ? places.values(k, signed) : 0;
      const gateBias = biased ? places.values(k, signed) : 0;
      const wanted = Array.from(f32(y, positions * hidden));
      const seen: number[] = [];
      for (const [unit, { address, parts }] of placed.entries()) {
        const hook = {
          activations(block: { first: number; position: number; positions: number }) {
            assert.equal(block.first, unit * k);
            for (let p = 0; p < block.positions; p++) seen.push(block.position + p);
          },
        };
        const active = computeRowUnits(memory, kernels, place, {
          ...{ units, address, packed, unit, ffn, hidden, x, y, bias, gateBias, positions, hook },
        });
        let expectedActive = 0;
        for (let p = 0; p < positions; p++) {
          const row = f32(x + 4 * p * hidden, hidden);
          const own = expected(
            made,
            parts,
            row,
            biased ? f32(bias, k) : null,
            biased ? f32(gateBias, k) : null,
          );
          own.y.forEach((value, i) => {
            wanted[p * hidden + i] = (wanted[p * hidden + i] ?? 0) + value;
          });
          expectedActive += own.active;
        }
        if (boundOf(dtype) < 0.01) {
          const off = Math.abs(active - expectedActive);
          assert.ok(off <= 1 + 0.001 * expectedActive, `${active} active of ${expectedActive}`);
        }
      }
      close(
        f32(y, positions * hidden),
        wanted,
        boundOf(dtype),
        JSON.stringify({ ...ffn, k, hidden }),
      );
      assert.deepEqual(
        seen,
        units.parts.length > 0 ? placed.flatMap(() => [...new Array(positions).keys()]) : [],
      );
      assert.ok(f32(place.sums, place.chunk * hidden).every((value) => value === 0));
    }
  });
}

test('several tiles at once give what one after the other gives, to the bit', () => {
  for (const [dtype, packed] of formats) {
    const places = new Places();
    const { units, place, placed, ffn, hidden, k } = problem(places, 'tile', dtype, packed);
    const count = units.count;
    // Room for all of them, side by side.
    const chunk = Math.ceil((count * k) / neuronBlock);
    const values = 4 * activationValues(chunk, k);
    const wide = { ...place, chunk, neurons: places.take(values), gates: places.take(values) };
    const together = places.take(count * units.unitBytes);
    placed.forEach(({ address }, i) => {
      const unit = new Uint8Array(memory.buffer, address, units.unitBytes);
      new Uint8Array(memory.buffer, together + i * units.unitBytes, units.unitBytes).set(unit);
    });
    const positions = 1;
    const x = places.values(hidden, signed);
    const y = places.values(hidden, signed);
    const start = Float32Array.from(f32(y, hidden));
    const task = { units, packed, ffn, hidden, x, y, bias: 0, gateBias: 0, positions };
    let active = 0;
    for (const [unit, { address }] of placed.entries()) {
      active += computeRowUnits(memory, kernels, place, { ...task, address, unit });
    }
    const wanted = Float32Array.from(f32(y, hidden));
    f32(y, hidden).set(start);
    const blocks: unknown[] = [];
    const hook = {
      activations: (block: { first: number; count: number; stride: number }) => {
        blocks.push([block.first, block.count, block.stride]);
      },
    };
    const all = { ...task, address: together, unit: 0, count, hook };
    assert.equal(computeRowUnits(memory, kernels, wide, all), active);
    assert.deepEqual(Float32Array.from(f32(y, hidden)), wanted, `${dtype}, ${packed}`);
    assert.deepEqual(blocks, [[0, count * k, count * k]]);
  }
});

test('experts: each row adds its own, weighted, and to the bit what it gets alone, in any order', () => {
  for (let round = 0; round < 30; round++) {
    const places = new Places();
    const made = problem(places, 'expert', dice.pick(['f32', 'f16']), false);
    const { units, place, placed, ffn, hidden, k } = made;
    const rows = dice.between(1, place.chunk);
    const room = { bundles: 0, entries: 0 };
    const arena = new Arena(memory, kernels, { ...place, ...room }, false);
    const gathered = places.take(4 * place.chunk * hidden);
    const contributions = places.take(4 * place.chunk * units.count * hidden);
    const tables = {
      rows: places.take(4 * place.chunk * units.count),
      choices: places.take(kernelSizes.choiceBytes * place.chunk * units.count),
    };
    const x = places.values(rows * hidden, signed);
    const bias = places.values(units.count * k, signed);
    const gateBias = places.values(units.count * k, signed);
    const downBias = places.values(units.count * hidden, signed);
    const start = Array.from({ length: rows * hidden }, signed);
    const weightOf = Array.from({ length: rows }, () =>
      [0, 1, 2].map(() => (dice.chance(0.5) ? Math.fround(dice.next() + 0.1) : 0)),
    );
    const y = places.take(4 * rows * hidden);
    /** Adds what the experts make of rows [first, first + weights.length) to y. */
    const add = (first: number, weights: readonly (readonly number[])[]) => {
      const selection = new WeightSelection({ units: 3, rows }).clear(3, weights.length);
      for (const [row, own] of weights.entries()) {
        for (const [expert, weight] of own.entries()) selection.take(row, expert, weight);
      }
      const experts = rowsByExpert(selection.seal());
      const own = x + 4 * first * hidden;
      writeTables(memory, tables, experts, selection, units.count);
      for (const each of dice.shuffle([...experts])) {
        const { expert } = each;
        arena.expert({
          ...{ units, expert, packed: false, ffn, hidden, positions: each.rows.length },
          address: placed[expert]?.address ?? 0,
          x: gatherRows(kernels, each, { x: own, target: gathered, tables }, hidden),
          y: contributions + 4 * each.first * hidden,
          bias: bias + 4 * expert * k,
          gateBias: gateBias + 4 * expert * k,
        });
      }
      const [target, { choices }] = [y + 4 * first * hidden, tables];
      const { addChoices } = kernels;
      addChoices(target, contributions, downBias, choices, weights.length, units.count, hidden);
    };
    f32(y, rows * hidden).set(start);
    add(0, weightOf);
    const together = f32(y, rows * hidden).slice();
    f32(y, rows * hidden).set(start);
    for (const [row, weights] of weightOf.entries()) add(row, [weights]);
    assert.deepEqual(f32(y, rows * hidden).slice(), together, 'to the bit what it gets alone');
    for (const [row, weights] of weightOf.entries()) {
      const wanted = start.slice(row * hidden, (row + 1) * hidden);
      for (const [expert, weight] of weights.entries()) {
        const { parts = [] } = placed[expert] ?? {};
        const biases = [bias, gateBias].map((all) => f32(all + 4 * expert * k, k));
        const own = expected(
          made,
          parts,
          f32(x + 4 * row * hidden, hidden),
          biases[0] ?? null,
          biases[1] ?? null,
        );
        own.y.forEach((value, i) => {
          const whole = value + (f32(downBias + 4 * expert * hidden, hidden)[i] ?? 0);
          wanted[i] = (wanted[i] ?? 0) + weight * whole;
        });
      }
      close(together.slice(row * hidden, (row + 1) * hidden), wanted, 2e-5, `row ${row}`);
    }
  }
});
