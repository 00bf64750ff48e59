/** What the kernel tests share: a memory with a bump allocator, random numbers, number formats. */
import assert from 'node:assert/strict';
import type { DType } from '../../src/dtype.ts';
import { byteLength } from '../../src/dtype.ts';
import type { Address, Kernels } from '../../src/kernels/kernels.ts';
import { createMemory, instantiateKernels } from '../../src/kernels/module.ts';

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
  static async create(bytes: number): Promise<Bench> {
    const memory = createMemory(bytes);
    return new Bench(memory, await instantiateKernels(memory));
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
   * Allocates random weights, aligned to no more than the size of one element; returns the address
   * and what the weights are, exactly.
   */
  putWeights(dtype: DType, n: number, random: Random): { address: Address; values: number[] } {
    const address = this.allocate(byteLength(dtype, n), byteLength(dtype, 1));
    return { address, values: this.fillWeights(dtype, address, n, random) };
  }
  fillWeights(dtype: DType, address: Address, n: number, random: Random): number[] {
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
