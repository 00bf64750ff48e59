/**
 * Checks that every value of a GGUF file is read as the `gguf` package reads it, to the bit: all blocks of
 * all tensors, by their hashes; floats of 16 bits as they are stored.
 *
 *     python scripts/gguf-hashes.py <file.gguf> > hashes.json
 *     node --import tsx scripts/compare-blocks.ts <file.gguf> hashes.json
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { openGguf } from '../src/checkpoint/gguf/gguf-file.ts';

const [path, hashes] = process.argv.slice(2);
if (path === undefined || hashes === undefined) {
  process.stderr.write('usage: compare-blocks.ts <file.gguf> <hashes.json>\n');
  process.exit(2);
}
type Expected = Readonly<Record<string, { readonly type: string; readonly sha256: string }>>;
const expected = JSON.parse(readFileSync(hashes, 'utf8')) as Expected;
const source = await openGguf(path);
const counts = new Map<string, { same: number; values: number; other: string[] }>();
const step = 2 ** 20;
for (const [name, tensor] of source.tensors) {
  const elements = tensor.shape.reduce((a, b) => a * b, 1);
  const hash = createHash('sha256');
  for (let at = 0; at < elements; at += step) {
    const count = Math.min(step, elements - at);
    const target = new Uint8Array(count * (tensor.dtype === 'f32' ? 4 : 2));
    await tensor.read(at, count, target);
    hash.update(target);
  }
  const wanted = expected[name];
  const type = wanted?.type ?? 'not in the other list';
  const count = counts.get(type) ?? { same: 0, values: 0, other: [] };
  counts.set(type, count);
  count.values += elements;
  if (wanted?.sha256 === hash.digest('hex')) count.same++;
  else count.other.push(name);
}
await source.close();
for (const [type, { same, values, other }] of counts) {
  const rest = other.length === 0 ? '' : `; other bits: ${other.join(', ')}`;
  process.stdout.write(`${type}: ${same} tensors of ${values} values to the bit${rest}\n`);
}
process.exitCode = [...counts.values()].some(({ other }) => other.length > 0) ? 1 : 0;
