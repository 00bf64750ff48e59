/**
 * How fast quantised GGUF tensors are read, per type: blocks from a file in the page cache to f32,
 * by processor time.
 *
 *   node --import tsx scripts/bench-dequantise.ts
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointFile } from '../src/checkpoint/file.ts';
import { ggmlTypes } from '../src/checkpoint/gguf/ggml-types.ts';
import { quantisedTensor } from '../src/checkpoint/gguf/quantised-tensor.ts';

const columns = 4096;
const rows = 4096;
const elements = rows * columns;
/** As many values as conversion reads at once. */
const step = 2 * 1024 * 1024;

const dir = mkdtempSync(join(tmpdir(), 'flashllm-dequantise-'));
try {
  const target = new Uint8Array(step * 4);
  for (const type of ggmlTypes.values()) {
    if (type.dequantise === null) continue;
    const path = join(dir, type.name);
    const bytes = (elements / type.blockElements) * type.blockBytes;
    writeFileSync(path, Buffer.alloc(bytes, 0x35));
    const file = await CheckpointFile.open(path);
    const shape = [rows, columns];
    const entry = { name: type.name, type, shape, elements, offset: 0, bytes };
    const tensor = quantisedTensor(file, entry, type.dequantise);
    let best = Number.POSITIVE_INFINITY;
    for (let run = 0; run < 5; run++) {
      const started = process.cpuUsage();
      for (let at = 0; at < elements; at += step) await tensor.read(at, step, target);
      const { user, system } = process.cpuUsage(started);
      best = Math.min(best, (user + system) / 1000);
    }
    await file.close();
    const million = (elements / best / 1000).toFixed(0);
    const megabytes = (bytes / best / 1000).toFixed(0);
    process.stdout.write(`${type.name}  ${million} M weights/s  ${megabytes} MB/s of the file\n`);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
