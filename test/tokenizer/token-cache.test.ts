/** A model's tokenizer from its cache file is the one from tokenizer.json. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { Model } from '../../src/engine/model.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { readTokenCache } from '../../src/tokenizer/token-cache.ts';
import { tokenCacheFile, tokenizerFile } from '../../src/tokenizer/token-files.ts';
import { converted } from '../engine/support.ts';
import { storiesOpt, validText } from '../support/fixtures.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const text = readFileSync(validText, 'utf8').slice(0, 20_000);
let dir = '';
let cache = '';

before(async () => {
  dir = await converted(root, storiesOpt);
  cache = join(dir, tokenCacheFile);
});

async function idsOf(): Promise<readonly number[]> {
  const model = await Model.open(dir);
  try {
    const { tokenizer } = model;
    const ids = tokenizer.encodePrompt(`${text}</s>`);
    assert.equal(tokenizer.decode(ids.slice(1, -1)), text);
    return ids;
  } finally {
    model.close();
  }
}

test('convert writes it, and what is opened from it is what tokenizer.json makes', async () => {
  assert.ok(existsSync(cache));
  const kept = await idsOf();
  rmSync(cache);
  assert.deepEqual(await idsOf(), kept);
  assert.ok(existsSync(cache), 'it is made again');
  if (process.platform !== 'win32') assert.equal(statSync(cache).mode & 0o077, 0o044);
});

test('one that is damaged, of another tokenizer.json or hostile is passed over and replaced', async () => {
  const ids = await idsOf();
  const good = readFileSync(cache);
  const dice = new Dice(4);
  /** The checksum mended: what was changed is believed to have been written so. */
  const mended = (bytes: Buffer) => {
    bytes.writeUInt32LE(crc32(bytes.subarray(12)), 8);
    return bytes;
  };
  const broken: Buffer[] = [Buffer.alloc(0), good.subarray(0, good.length / 2), Buffer.alloc(100)];
  for (let i = 0; i < 6; i++) {
    const flipped = Buffer.from(good);
    flipped[dice.between(8, good.length - 1)]! ^= 0xff;
    broken.push(flipped);
  }
  const head = good.toString('latin1');
  for (const [from, to] of [
    [/"crc32":"(.)/, '"crc32":"x'],
    [/"merges":\d/, '"merges":9'],
    [/"tokens":\d/, '"tokens":9'],
  ] as const) {
    broken.push(mended(Buffer.from(head.replace(from, to), 'latin1')));
  }
  const far = Buffer.from(good);
  far.writeInt32LE(2 ** 30, far.length - 4);
  broken.push(mended(far));
  for (const bytes of broken) {
    writeFileSync(cache, bytes);
    assert.deepEqual(await idsOf(), ids);
    assert.deepEqual(readFileSync(cache), good);
  }
});

test('reading it takes no second copy of its arrays', async () => {
  const { files } = await readManifest(dir);
  const stored = files[tokenizerFile];
  assert.ok(stored !== undefined);
  const before = process.memoryUsage().arrayBuffers;
  const read = await readTokenCache(dir, stored);
  const taken = process.memoryUsage().arrayBuffers - before;
  assert.ok(read !== null);
  const { size } = statSync(cache);
  assert.ok(taken < 2 * size, `${taken} bytes for a file of ${size}`);
});
