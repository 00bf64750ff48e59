/** The cache of device profiles: what is wrong with it counts as not there. */

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import {
  cacheFile,
  type DeviceProfile,
  defaultProfile,
  loadProfile,
  saveProfile,
} from '../../src/flash/device-profile.ts';
import { mkfifoSync } from '../support/fifo.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const { FLASHLLM_CACHE: before } = process.env;
afterEach(() => {
  if (before === undefined) delete process.env.FLASHLLM_CACHE;
  else process.env.FLASHLLM_CACHE = before;
});

const measured: DeviceProfile = { ...defaultProfile, bandwidth: 123_456, source: 'measured' };

test('a profile is kept, in a file of nobody else, with nothing beside it', async () => {
  const cache = root.directory();
  process.env.FLASHLLM_CACHE = cache;
  assert.deepEqual(await loadProfile(root.path), defaultProfile);
  assert.ok(await saveProfile(root.path, measured));
  assert.deepEqual(await loadProfile(root.path), measured);
  assertEntries(cache, ['devices.json']);
});

test('what is damaged, hostile or no file is passed over at once', async () => {
  const cache = root.directory();
  process.env.FLASHLLM_CACHE = cache;
  await saveProfile(root.path, measured);
  const intact = readFileSync(cacheFile(), 'utf8');
  const contents = [
    '['.repeat(20_000) + ']'.repeat(20_000),
    '{',
    intact.replace('123456', '1e999'),
    intact.replace(/"largestRead": \d+/, '"largestRead": 4503599627370496'),
    intact.replace(/"breakEvenGap": \d+/, '"breakEvenGap": 4503599627370496'),
    intact.replace(/"depth": \d+/, '"depth": 1000000'),
    ' '.repeat(2 ** 21),
  ];
  for (const content of contents) {
    writeFileSync(cacheFile(), content);
    assert.deepEqual(await loadProfile(root.path), defaultProfile);
  }
  rmSync(cacheFile());
  if (process.platform !== 'win32') {
    mkfifoSync(cacheFile());
    assert.deepEqual(await loadProfile(root.path), defaultProfile);
    assert.ok(await saveProfile(root.path, measured));
    assert.ok(statSync(cacheFile()).isFile());
    rmSync(cacheFile());
  }
  mkdirSync(join(cacheFile(), 'sub'), { recursive: true });
  assert.deepEqual(await loadProfile(root.path), defaultProfile);
  assert.equal(await saveProfile(root.path, measured), false);
  assertEntries(cache, ['devices.json']);
});
