/** Conversions between float types, one value at a time; independent of the kernels under test. */

import type { Tensor } from './safetensors.ts';

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The value of a float16. */
export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The float16 next to a number of the normal range, towards 0. */
export function toF16(value: number): number {
  const magnitude = Math.abs(value);
  const sign = value < 0 ? 0x8000 : 0;
  if (magnitude < 2 ** -14) return sign | Math.floor(magnitude * 2 ** 24);
  const exponent = Math.floor(Math.log2(magnitude));
  return sign | ((exponent + 15) << 10) | Math.floor((magnitude / 2 ** exponent - 1) * 1024);
}

/** The bfloat16 nearest to a finite value, ties to even. */
export function toBf16(value: number): number {
  float[0] = value;
  const bits = word[0] ?? 0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** A float16 tensor as float32; nothing is lost. */
export function tensorToF32({ shape, data }: Tensor): Tensor {
  const out = Buffer.alloc(data.length * 2);
  for (let i = 0; i < data.length / 2; i++) {
    out.writeFloatLE(fromF16(data.readUInt16LE(i * 2)), i * 4);
  }
  return { dtype: 'F32', shape, data: out };
}

/** A float16 tensor rounded to bfloat16. */
export function tensorToBf16({ shape, data }: Tensor): Tensor {
  const out = Buffer.alloc(data.length);
  for (let i = 0; i < data.length; i += 2) {
    out.writeUInt16LE(toBf16(fromF16(data.readUInt16LE(i))), i);
  }
  return { dtype: 'BF16', shape, data: out };
}
