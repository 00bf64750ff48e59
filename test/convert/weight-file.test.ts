/** Files that are written past the page cache and through it: the same bytes, whatever parts they come in. */

import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { PendingWrites, Rotation } from '../../src/convert/pending-writes.ts';
import { WeightFile } from '../../src/convert/weight-file.ts';
import { createMemory } from '../../src/pages.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const sector = 4096;

/** Numbers that are the same each time. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

interface Part {
  readonly bytes: Uint8Array;
  readonly position: number;
}

/** Parts as tensors are: of any length, some of whole sectors, with gaps, from the memory and from elsewhere. */
function drawParts(memory: WebAssembly.Memory, seed: number): { parts: Part[]; length: number } {
  const draw = numbers(seed);
  const all = new Uint8Array(memory.buffer);
  const parts: Part[] = [];
  let position = 0;
  for (let at = 0; at < all.length; ) {
    const whole = draw(2) === 0;
    const most = draw(4) === 0 ? 400_000 : 10_000;
    const wanted = whole ? (1 + draw(most / sector)) * sector : 1 + draw(most);
    const from = all.subarray(at, at + wanted);
    for (let i = 0; i < from.length; i++) from[i] = 1 + draw(255);
    const gap = [0, 0, 64, sector, 3 * sector + 100][draw(5)] ?? 0;
    position += whole && draw(2) === 0 ? gap + sector - ((position + gap) % sector) : gap;
    parts.push({ bytes: draw(3) === 0 ? from.slice() : from, position });
    position += from.length;
    // The next part begins at a sector, or right behind this one.
    at += draw(2) === 0 ? from.length : from.length + sector - (from.length % sector);
  }
  return { parts, length: Math.ceil(position / sector) * sector };
}

/** What must be in the file. */
function expected(parts: readonly Part[], length: number): Buffer {
  const content = Buffer.alloc(length);
  for (const { bytes, position } of parts) content.set(bytes, position);
  return content;
}

async function withoutDirect<T>(work: () => Promise<T>): Promise<T> {
  process.env.FLASHLLM_DIRECT_IO = '0';
  try {
    return await work();
  } finally {
    delete process.env.FLASHLLM_DIRECT_IO;
  }
}

describe('a file of weights', () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    it(`has the bytes of its parts, drawn with seed ${seed}, past the page cache and through it`, async () => {
      const memory = createMemory(3 * 2 ** 20);
      const { parts, length } = drawParts(memory, seed);
      const write = async (path: string) => {
        const file = await WeightFile.create(path, length, memory);
        // All at once: they are taken in this order.
        await Promise.all(parts.map(({ bytes, position }) => file.write(bytes, position)));
        await file.finish();
        return file.direct;
      };
      const [direct, cached] = ['direct', 'cached'].map((name) => join(root.directory(), name));
      await write(direct as string);
      assert.equal(await withoutDirect(() => write(cached as string)), false);
      const content = expected(parts, length);
      assert.ok(readFileSync(direct as string).equals(content));
      assert.ok(readFileSync(cached as string).equals(content));
    });
  }

  it('has its whole length where nothing is written to its end', async () => {
    const path = join(root.directory(), 'short');
    const file = await WeightFile.create(path, 3 * sector + 5);
    await file.write(Uint8Array.of(1, 2, 3), 10);
    await file.finish();
    assert.ok(
      readFileSync(path).equals(
        expected([{ bytes: Uint8Array.of(1, 2, 3), position: 10 }], 3 * sector + 5),
      ),
    );
  });

  it('takes parts in order alone', async () => {
    const file = await WeightFile.create(join(root.directory(), 'order'), 2 * sector);
    await file.write(new Uint8Array(100), 0);
    if (file.direct) await assert.rejects(file.write(new Uint8Array(10), 50), /before/);
    await file.close();
  });

  it('replaces nothing that is there', async () => {
    const path = join(root.directory(), 'there');
    await (await WeightFile.create(path, sector)).close();
    await assert.rejects(WeightFile.create(path, sector), { code: 'EEXIST' });
    assert.equal(statSync(path).size, sector);
  });
});

describe('buffers in rotation', () => {
  it('are free when every write out of any part of them has ended', async () => {
    const memory = createMemory(65536);
    const pending = new PendingWrites();
    const rotation = new Rotation(4096, 2, 8192, pending);
    const { promise, resolve } = deferred();
    // Out of the end of the first buffer and the beginning of the second.
    pending.begin(new Uint8Array(memory.buffer, 4096 + 8000, 400), promise);
    const order: string[] = [];
    const first = rotation.next().then((address) => order.push(`free ${address}`));
    const second = rotation.next().then((address) => order.push(`free ${address}`));
    await new Promise(setImmediate);
    order.push('written');
    resolve();
    await Promise.all([first, second]);
    assert.deepEqual(order, ['written', 'free 4096', 'free 12288']);
    assert.equal(await rotation.next(), 4096);
  });

  it('tell whoever wants to fill one that the write out of it failed', async () => {
    const memory = createMemory(65536);
    const pending = new PendingWrites();
    const rotation = new Rotation(0, 2, 8192, pending);
    pending.begin(new Uint8Array(memory.buffer, 0, 8192), Promise.reject(new Error('the disk')));
    await assert.rejects(rotation.next(), /the disk/);
    assert.equal(await rotation.next(), 8192);
    await assert.rejects(pending.allEnded(), /the disk/);
    await pending.settled();
  });
});

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
