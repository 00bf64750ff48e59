/** What the kernel tests share: a memory with a bump allocator, random numbers, number formats. */
import assert from 'node:assert/strict';
import type { DType } from '../../src/dtype.ts';
import { byteLength, formats, isQuantised } from '../../src/dtype.ts';
import type { Kernels } from '../../src/kernels/kernels.ts';
import {
  type CoreBuild,
  chooseBuild,
  compileCore,
  coreBuilds,
  instantiateKernels,
  runsBuild,
} from '../../src/kernels/module.ts';
import type { Address } from '../../src/kernels/signature.ts';
import { createMemory } from '../../src/pages.ts';
import { fillGguf, isGguf } from './gguf-blocks.ts';

/** The builds of the core that this Node runs: every kernel is tested in each. */
export const builds: readonly CoreBuild[] = coreBuilds.filter(runsBuild);

/** A small xorshift generator: the same numbers in every run. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed * 2654435761 || 1;
  }
  /** An integer in [0, n). */
  below(n: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % n;
  }
  /** In (-1, 1). */
  unit(): number {
    return (this.below(2 ** 31) / 2 ** 31) * (this.below(2) === 0 ? 1 : -1);
  }
  /** Mostly ordinary values, with zeros, denormals of each format and large values among them. */
  value(): number {
    const kind = this.below(24);
    if (kind === 0) return 0;
    if (kind === 1) return -0;
    if (kind === 2) return this.unit() * 2 ** -15;
    if (kind === 3) return this.unit() * 2 ** -24;
    if (kind === 4) return this.unit() * 2 ** -128;
    if (kind === 5) return this.unit() * 30000;
    return this.unit();
  }
}

/** A memory for one test, allocated from low to high addresses, filled with a NaN pattern. */
export class Bench {
  readonly memory: WebAssembly.Memory;
  readonly kernels: Kernels;
  #next = 1024;

  private constructor(memory: WebAssembly.Memory, kernels: Kernels) {
    this.memory = memory;
    this.kernels = kernels;
    this.reset();
  }
  static async create(bytes: number, build = chooseBuild()): Promise<Bench> {
    const memory = createMemory(bytes);
    return new Bench(memory, await instantiateKernels(memory, await compileCore(build)));
  }
  /** Forgets all allocations. Reading what was not written gives NaN in every format. */
  reset(): void {
    this.#next = 1024;
    new Uint8Array(this.memory.buffer).fill(0xff);
  }
  allocate(bytes: number, alignment = 4): Address {
    const address = Math.ceil(this.#next / alignment) * alignment;
    this.#next = address + bytes;
    assert.ok(this.#next <= this.memory.buffer.byteLength);
    return address;
  }
  floats(address: Address, n: number): Float32Array {
    return new Float32Array(this.memory.buffer, address, n);
  }
  words(address: Address, n: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, address, n);
  }
  halves(address: Address, n: number): Uint16Array {
    return new Uint16Array(this.memory.buffer, address, n);
  }
  bytes(address: Address, n: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, address, n);
  }
  /** Allocates f32 values. */
  putFloats(values: readonly number[]): Address {
    const address = this.allocate(4 * values.length);
    this.floats(address, values.length).set(values);
    return address;
  }
  putWords(values: readonly number[]): Address {
    const address = this.allocate(4 * values.length);
    this.words(address, values.length).set(values);
    return address;
  }
  /**
   * Allocates random rows of weights, aligned to no more than needed; returns the address and what
   * the weights are, exactly, row by row.
   */
  putWeights(
    dtype: DType,
    rows: number,
    cols: number,
    random: Random,
  ): { address: Address; values: number[] } {
    const rowBytes = byteLength(dtype, cols);
    const address = this.allocate(rows * rowBytes, alignmentOf(dtype));
    const values = Array.from({ length: rows }, (_, row) =>
      this.fillWeights(dtype, address + row * rowBytes, cols, random),
    );
    return { address, values: values.flat() };
  }
  /** Fills one row. */
  fillWeights(dtype: DType, address: Address, n: number, random: Random): number[] {
    if (dtype === 'q8' || dtype === 'q4') return this.#fillBlocks(dtype, address, n, random);
    if (dtype === 'ternary') return this.#fillTernary(address, n, random);
    if (isGguf(dtype)) return fillGguf(this.bytes(address, byteLength(dtype, n)), dtype, n, random);
    return Array.from({ length: n }, (_, i) => {
      const value = random.value();
      if (dtype === 'f32') {
        this.floats(address + 4 * i, 1)[0] = value;
        return Math.fround(value);
      }
      const bits = dtype === 'f16' ? toHalf(value) : toBFloat(value);
      this.halves(address + 2 * i, 1)[0] = bits;
      return dtype === 'f16' ? fromHalf(bits) : fromBFloat(bits);
    });
  }
  /** Blocks of any integers there are, straight from the drawing in assembly/block.ts. */
  #fillBlocks(dtype: 'q8' | 'q4', address: Address, n: number, random: Random): number[] {
    const { blockElements, blockBytes } = formats[dtype];
    const values: number[] = [];
    for (let at = address; values.length < n; at += blockBytes) {
      const block = this.bytes(at, blockBytes).fill(0);
      const scale = toBFloat(random.value() * 2 ** (random.below(3) - 6));
      block[blockBytes - 2] = scale & 255;
      block[blockBytes - 1] = scale >> 8;
      for (let i = 0; i < blockElements && values.length < n; i++) {
        if (dtype === 'q8') {
          const q = random.below(256) - 128;
          block[i] = q & 255;
          values.push(q * fromBFloat(scale));
        } else {
          const q = random.below(16) - 8;
          const [word, nibble] = [i % 8, Math.floor(i / 8)];
          block[2 * word + (nibble >> 1)]! |= (q & 15) << (4 * (nibble & 1));
          values.push(q * fromBFloat(scale));
        }
      }
    }
    return values;
  }
  /** Blocks of any scales, straight from the drawing in assembly/ternary-rows.ts. */
  #fillTernary(address: Address, n: number, random: Random): number[] {
    const { blockElements, blockBytes } = formats.ternary;
    const values: number[] = [];
    for (let at = address; values.length < n; at += blockBytes) {
      const block = this.bytes(at, blockBytes).fill(0b01010101);
      const scale = Math.fround(random.value());
      new DataView(this.memory.buffer).setFloat32(at + 64, scale, true);
      for (let i = 0; i < blockElements && values.length < n; i++) {
        const q = random.below(3) - 1;
        const [half, part, byte] = [Math.floor(i / 128), Math.floor(i / 32) % 4, i % 32];
        block[32 * half + byte]! += q * 4 ** part;
        values.push(q * scale);
      }
    }
    return values;
  }
}

const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

/** The value of a binary16, straight from its definition. */
export function fromHalf(bits: number): number {
  const sign = bits >> 15 === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** The nearest binary16, ties to even. */
export function toHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  // The patterns of positive numbers are in the order of the numbers.
  let low = 0;
  let high = 0x7bff;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (fromHalf(middle) <= magnitude) low = middle;
    else high = middle - 1;
  }
  if (low === 0x7bff) return sign | low;
  const below = magnitude - fromHalf(low);
  const above = fromHalf(low + 1) - magnitude;
  return sign | (below < above || (below === above && low % 2 === 0) ? low : low + 1);
}

/** The value of a bfloat16. */
export function fromBFloat(bits: number): number {
  floatBits[0] = bits * 65536;
  return float[0]!;
}

/** The nearest bfloat16, ties to even. */
export function toBFloat(value: number): number {
  float[0] = value;
  const bits = floatBits[0]!;
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  const rest = bits % 65536;
  const low = bits >>> 16;
  return rest > 32768 || (rest === 32768 && low % 2 === 1) ? low + 1 : low;
}

/** Bytes that rows of a format must be aligned to. */
export function alignmentOf(dtype: DType): number {
  return isQuantised(dtype) ? 2 : byteLength(dtype, 1);
}

/** What the largest activation of a block becomes; 127 for all others. */
const activationLevels: Readonly<Partial<Record<DType, number>>> = {
  q8: 32767,
  q4: 8191,
  q8_0: 32767,
  iq4_nl: 32767,
};

/**
 * By how much quantising the activations in x may change a dot product with w: half a step for each
 * weight, a step being the 32,767th part (or as activationLevels says) of the largest activation of
 * the block, of ternary weights of the row; and what is below 2^-100 throughout is taken for 0.
 */
export function activationError(
  dtype: DType,
  w: ArrayLike<number>,
  x: ArrayLike<number>,
  n: number,
  w0 = 0,
  x0 = 0,
): number {
  if (!isQuantised(dtype)) return 0;
  const levels = activationLevels[dtype] ?? 127;
  const together = dtype === 'ternary' ? n : 32;
  let error = 0;
  for (let start = 0; start < n; start += together) {
    let [top, size] = [2 ** -86, 0];
    for (let c = start; c < Math.min(n, start + together); c++) {
      top = Math.max(top, Math.abs(x[x0 + c]!));
      size += Math.abs(w[w0 + c]!);
    }
    error += (size * top * 0.5001) / levels;
  }
  return error;
}

/** Throws unless |got - wanted| <= tolerance for every element. */
export function assertClose(
  got: ArrayLike<number>,
  wanted: readonly number[],
  tolerance: (index: number) => number,
  what: string,
): void {
  assert.equal(got.length, wanted.length);
  for (let i = 0; i < wanted.length; i++) {
    const error = Math.abs(got[i]! - wanted[i]!);
    if (!(error <= tolerance(i))) {
      assert.fail(`${what}: element ${i} is ${got[i]}, not ${wanted[i]} (error ${error})`);
    }
  }
}

/** The bits of f32 values, to compare them including the signs of zeros. */
export function bitsOf(values: Float32Array): number[] {
  return Array.from(new Uint32Array(values.buffer, values.byteOffset, values.length));
}
