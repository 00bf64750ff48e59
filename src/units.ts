/** Sizes and numbers as people write and read them. */

import { InputError } from './errors.ts';
import { own } from './own.ts';

const KIB = 1024;
export const MIB = 1024 * KIB;

const unitBytes: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: KIB,
  kib: KIB,
  kb: 1e3,
  m: MIB,
  mib: MIB,
  mb: 1e6,
  g: 1024 * MIB,
  gib: 1024 * MIB,
  gb: 1e9,
  t: 1024 * 1024 * MIB,
  tib: 1024 * 1024 * MIB,
  tb: 1e12,
};

/** A size as the user gave it: bytes, or a share of the model's weights. */
export type Size =
  | { readonly kind: 'bytes'; readonly bytes: number }
  | { readonly kind: 'share'; readonly share: number };

/**
 * Parses `512MiB`, `1.5GB`, `2GiB`, plain bytes, or `50%`.
 * @param what the option's name, for the message
 * @throws InputError when the text is none of these or is not positive
 */
export function parseSize(text: string, what: string): Size {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*|%)\s*$/i.exec(text);
  const value = Number(match?.[1]);
  const unit = match?.[2]?.toLowerCase() ?? '';
  const factor = unit === '%' ? 1 : own(unitBytes, unit);
  if (match === null || factor === undefined || !(value > 0)) {
    throw new InputError(
      `${what} is not a size: '${text}'`,
      {},
      'Write it as 512MiB, 1.5GB, 2GiB, plain bytes or 50%',
    );
  }
  if (unit === '%') return { kind: 'share', share: value / 100 };
  const bytes = Math.floor(value * factor);
  if (!Number.isSafeInteger(bytes) || bytes === 0) {
    throw new InputError(`${what} is out of range: '${text}'`);
  }
  return { kind: 'bytes', bytes };
}

/** A size in bytes, for a model whose weights take `weightBytes`. */
export function resolveSize(size: Size, weightBytes: number): number {
  return size.kind === 'bytes' ? size.bytes : Math.floor(size.share * weightBytes);
}

/** `1536` -> `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** Milliseconds as `850 ms`, `12.3 s` or `4 min 05 s`. */
export function formatMs(ms: number): string {
  if (ms < 1000) return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

/** The smallest multiple of `alignment` that is not below `value`. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/** The largest multiple of `alignment` that is not above `value`. */
export function alignDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment;
}
