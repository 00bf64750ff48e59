/**
 * Writes a Hugging Face checkpoint as sharded safetensors with an index, at the speed of the disk:
 * tensors come in parts, of which a few MiB are in memory.
 */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** An f16 tensor whose values are made when they are written. */
export interface MadeTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Its bytes in order; a part is copied before the next one is asked for. */
  readonly parts: () => Iterable<Uint8Array>;
}

const bufferBytes = 8 * 1024 * 1024;

export function tensorBytes({ shape }: Pick<MadeTensor, 'shape'>): number {
  return 2 * shape.reduce((product, n) => product * n, 1);
}

/** Writes the tensors into `dir`, at most `shardBytes` to a file, and their index. */
export async function writeCheckpoint(
  dir: string,
  tensors: readonly MadeTensor[],
  shardBytes = 2e9,
): Promise<void> {
  await mkdir(dir, { recursive: true });
  const shards = cutShards(tensors, shardBytes);
  const weightMap: Record<string, string> = {};
  let totalBytes = 0;
  for (const [index, shard] of shards.entries()) {
    const number = (n: number) => String(n).padStart(5, '0');
    const file =
      shards.length === 1
        ? 'model.safetensors'
        : `model-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
    for (const tensor of shard) {
      weightMap[tensor.name] = file;
      totalBytes += tensorBytes(tensor);
    }
    await writeShard(join(dir, file), shard);
  }
  if (shards.length === 1) return;
  const json = { metadata: { total_size: totalBytes }, weight_map: weightMap };
  await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify(json));
}

function cutShards(tensors: readonly MadeTensor[], shardBytes: number): MadeTensor[][] {
  const shards: MadeTensor[][] = [];
  let left = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    if (bytes > left) {
      shards.push([]);
      left = shardBytes;
    }
    shards.at(-1)?.push(tensor);
    left -= bytes;
  }
  return shards;
}

async function writeShard(path: string, tensors: readonly MadeTensor[]): Promise<void> {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const tensor of tensors) {
    const { name, shape } = tensor;
    const bytes = tensorBytes(tensor);
    header[name] = { dtype: 'F16', shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const out = createWriteStream(path, { highWaterMark: bufferBytes });
  const flush = async (data: Uint8Array) => {
    if (!out.write(data)) await once(out, 'drain');
  };
  await flush(Buffer.concat([length, json]));
  for (const { name, shape, parts } of tensors) {
    let buffer = Buffer.allocUnsafe(bufferBytes);
    let filled = 0;
    let written = 0;
    for (const part of parts()) {
      for (let at = 0; at < part.length; ) {
        const n = Math.min(part.length - at, bufferBytes - filled);
        buffer.set(part.subarray(at, at + n), filled);
        at += n;
        filled += n;
        written += n;
        if (filled < bufferBytes) continue;
        await flush(buffer);
        buffer = Buffer.allocUnsafe(bufferBytes);
        filled = 0;
      }
    }
    if (filled > 0) await flush(buffer.subarray(0, filled));
    if (written !== tensorBytes({ shape })) throw new Error(`${name}: ${written} bytes were made`);
  }
  out.end();
  await once(out, 'close');
}
