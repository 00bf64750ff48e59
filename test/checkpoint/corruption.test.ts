/** Damaged files must end in a clear refusal or in a right answer: no crash, no hang, no glut. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSafetensors } from '../../src/checkpoint/safetensors.ts';
import type { TensorSource } from '../../src/checkpoint/source.ts';
import { openTorch } from '../../src/checkpoint/torch.ts';
import { FlashError } from '../../src/errors.ts';
import {
  elementsOf,
  randomNumbers,
  readTensor,
  temporaryDirectory,
  torchSamples,
} from './helpers.ts';

const samples: Readonly<Record<string, (path: string) => Promise<TensorSource>>> = {
  'views.pt': openTorch,
  'views_legacy.pt': openTorch,
  'zip64.pt': openTorch,
  'training.pt': openTorch,
  'protocol_4.pt': openTorch,
  'legacy_shared_storage.pt': openTorch,
  'multi_layer__multi_layer.safetensors': openSafetensors,
};

/** Most elements read of a tensor: an expanded one may claim any number. */
const maxElements = 4096;

/** Opens and reads everything; true when that worked, false when it was refused. */
async function survives(path: string, open: (path: string) => Promise<TensorSource>) {
  let source: TensorSource | undefined;
  try {
    source = await open(path);
    for (const tensor of source.tensors.values()) {
      await readTensor(tensor, 0, Math.min(elementsOf(tensor), maxElements));
    }
    return true;
  } catch (error) {
    if (!(error instanceof FlashError)) throw error;
    assert.equal(error.exitCode, 2);
    assert.doesNotMatch(error.line, /\p{Cc}/u);
    assert.ok(error.line.length < 600, error.line);
    return false;
  } finally {
    await source?.close();
  }
}

for (const [name, open] of Object.entries(samples)) {
  test(`${name} cut anywhere is refused`, async (t) => {
    const path = join(temporaryDirectory(t), name);
    const whole = readFileSync(join(torchSamples, name));
    const random = randomNumbers(1);
    for (let round = 0; round < 100; round++) {
      const length = Math.floor(random() * whole.length);
      writeFileSync(path, whole.subarray(0, length));
      assert.equal(await survives(path, open), false, `cut at ${length}`);
    }
  });

  test(`${name} with flipped bytes is refused or read`, async (t) => {
    const path = join(temporaryDirectory(t), name);
    const whole = readFileSync(join(torchSamples, name));
    const random = randomNumbers(2);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const bytes = Buffer.from(whole);
      // Headers, pickles and directories are at the ends: half of the rounds stay close to those.
      const reach = round % 2 === 0 ? whole.length : Math.min(whole.length, 600);
      for (let flips = 1 + Math.floor(random() * 3); flips > 0; flips--) {
        const distance = Math.floor(random() * reach);
        const at = round % 4 === 1 ? whole.length - 1 - distance : distance;
        bytes[at] = round % 3 === 0 ? 0xff : Math.floor(random() * 256);
      }
      writeFileSync(path, bytes);
      if (!(await survives(path, open))) refused++;
    }
    assert.ok(refused > 0);
  });
}
