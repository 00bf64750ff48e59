/** Lines of a file, whatever pieces they come in. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { isBlank, type Line, linesOf } from '../../src/batch/lines.ts';
import { InterruptedError } from '../../src/errors.ts';
import { Dice } from '../support/random.ts';

/** A file in memory that gives at most `most` bytes at a time. */
function fileOf(content: Uint8Array, most = Number.POSITIVE_INFINITY) {
  const read = async (target: Uint8Array, offset: number, length: number, position: number) => {
    const part = content.subarray(position, position + Math.min(length, most));
    target.set(part, offset);
    return { bytesRead: part.length, buffer: target };
  };
  return { path: 'memory', source: { read } as never, bytes: content.length };
}

async function collect(content: Uint8Array, longest = 1e9, most?: number): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of linesOf(fileOf(content, most), { longest })) {
    lines.push({ ...line, bytes: line.bytes && Uint8Array.from(line.bytes) });
  }
  return lines;
}

const sha = (text: string) => createHash('sha256').update(text).digest('hex');
const texts = (lines: readonly Line[]) =>
  lines.map(({ bytes }) => bytes && Buffer.from(bytes).toString());

describe('lines', () => {
  it('are those between newlines, in pieces of any size', async () => {
    const dice = new Dice(7);
    for (let round = 0; round < 60; round++) {
      const parts = Array.from({ length: dice.between(0, 11) }, () =>
        'é\r x'.repeat(dice.between(0, 39)),
      );
      const content = Buffer.from(parts.map((part) => `${part}\n`).join(''));
      const lines = await collect(content, 1e9, dice.between(1, 9));
      assert.deepEqual(texts(lines), parts);
      assert.deepEqual(
        lines.map(({ number, digest, length, ended }) => [
          number,
          Buffer.from(digest).toString('hex'),
          length,
          ended,
        ]),
        parts.map((part, i) => [i + 1, sha(part), Buffer.byteLength(part), true]),
      );
      for (const { offset, length } of lines) {
        assert.equal(content[offset + length], 0x0a);
        assert.ok(offset === 0 || content[offset - 1] === 0x0a);
      }
    }
  });

  it('may be longer than a piece', async () => {
    const long = 'x'.repeat(200_000);
    assert.deepEqual(texts(await collect(Buffer.from(`a\n${long}\nb`))), ['a', long, 'b']);
  });

  it('that are too long are not kept, but known', async () => {
    const long = 'x'.repeat(150_000);
    const [first, second, third] = await collect(Buffer.from(`1234\n${long}\n12345`), 4);
    assert.equal(texts([first as Line])[0], '1234');
    assert.equal(second?.bytes, null);
    assert.equal(second?.length, 150_000);
    assert.equal(Buffer.from(second?.digest ?? []).toString('hex'), sha(long));
    assert.equal(third?.bytes, null);
    assert.equal(third?.ended, false);
  });

  it('end with a carriage return where they do, and the file may begin with a mark', async () => {
    const lines = await collect(Buffer.from('\ufeffa\r\n\r\nb\r\r\n\r'), 1e9, 5);
    assert.deepEqual(texts(lines), ['a', '', 'b\r', '']);
    assert.deepEqual(lines.map(isBlank), [false, true, false, true]);
    assert.equal(lines[0]?.offset, 0);
  });

  it('of an empty file are none', async () => {
    assert.deepEqual(await collect(Buffer.from('')), []);
  });

  it('are left when the signal comes, and a failing read is named', async () => {
    const signal = AbortSignal.abort();
    const lines = linesOf(fileOf(Buffer.from('a\n')), { longest: 9, signal });
    await assert.rejects(lines.next(), InterruptedError);
    const read = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
    const broken = { path: 'broken.jsonl', source: { read } as never, bytes: 10 };
    await assert.rejects(linesOf(broken, { longest: 9 }).next(), {
      place: { file: 'broken.jsonl' },
    });
  });
});
