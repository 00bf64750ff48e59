/** What a training that was stopped left: gone on from where it is whole, and else begun anew. */

import assert from 'node:assert/strict';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import { byteLength } from '../../src/dtype.ts';
import { TrainingJob } from '../../src/predictor/job.ts';
import { mkfifoSync } from '../support/fifo.ts';
import { tinyManifest } from '../support/manifest.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const manifest = tinyManifest();
const settings = { seed: 1 };
const stateBytes = 640;
const neurons = 24;
const trained = {
  form: 'factors' as const,
  rank: 4,
  relu: false,
  a: new Uint8Array(4 * byteLength('q4', 16)).fill(1),
  b: new Uint8Array(neurons * byteLength('q4', 4)).fill(2),
  bias: new Float32Array(neurons).fill(3),
  frequency: new Uint8Array(2 * neurons).fill(4),
  report: { sparsity: 0.9, predicted: 0.2, recall: 0.9, precision: 0.5, mass: 0.99 },
  curve: [{ rank: 4, predicted: 0.2 }],
};
const order = Uint32Array.from({ length: neurons }, (_, i) => neurons - 1 - i);

const open = (dir: string) => TrainingJob.open(dir, manifest, settings, [stateBytes]);

/** A model's directory with a job of one finished layer, and the directory of that. */
async function stopped(): Promise<{ dir: string; job: string }> {
  const dir = root.directory();
  const job = await open(dir);
  await job.finish(trained, true, { order, readBefore: 2, readAfter: 1 });
  writeFileSync(join(job.dir, 'hidden-1.f32'), Buffer.alloc(stateBytes));
  return { dir, job: job.dir };
}

test('a finished layer is taken over, with its weights and its order', async () => {
  const { dir, job } = await stopped();
  assert.deepEqual(readdirSync(job).sort(), [
    'hidden-1.f32',
    'layer-0.bin',
    'layer-0.json',
    'layer-0.order',
    'settings.json',
  ]);
  const again = await open(dir);
  assert.equal(again.layers.length, 1);
  assert.deepEqual(new Uint8Array(await again.bytes(0, 'b')), trained.b);
  assert.deepEqual(await again.order(0, neurons), order);
  if (process.platform !== 'win32') assert.equal(statSync(job).mode & 0o777, 0o700);
});

const deep = '['.repeat(20_000) + ']'.repeat(20_000);
const replaced = (job: string, name: string, from: RegExp, to: string) => {
  const path = join(job, name);
  writeFileSync(path, readFileSync(path, 'utf8').replace(from, to));
};
const damage: readonly (readonly [what: string, work: (job: string) => void])[] = [
  ['other settings', (job) => replaced(job, 'settings.json', /1/, '2')],
  ['settings nested 20,000 deep', (job) => writeFileSync(join(job, 'settings.json'), deep)],
  ['a layer nested 20,000 deep', (job) => writeFileSync(join(job, 'layer-0.json'), deep)],
  ['a layer that is no JSON', (job) => writeFileSync(join(job, 'layer-0.json'), '{"rank":')],
  [
    'a rank beyond all',
    (job) => replaced(job, 'layer-0.json', /"rank":4/, '"rank":9007199254740991'),
  ],
  ['an offset elsewhere', (job) => replaced(job, 'layer-0.json', /"offset":0/, '"offset":8')],
  [
    'a threshold where there is A',
    (job) => replaced(job, 'layer-0.json', /"relu"/, '"magnitude":{"threshold":1},"relu"'),
  ],
  [
    'weights with another byte',
    (job) => {
      const bytes = readFileSync(join(job, 'layer-0.bin'));
      bytes[5] = 9;
      writeFileSync(join(job, 'layer-0.bin'), bytes);
    },
  ],
  [
    'weights that are too long',
    (job) => writeFileSync(join(job, 'layer-0.bin'), Buffer.alloc(9999)),
  ],
  ['weights that are gone', (job) => rmSync(join(job, 'layer-0.bin'))],
  [
    'an order that names a neuron twice',
    (job) => writeFileSync(join(job, 'layer-0.order'), Buffer.alloc(4 * neurons)),
  ],
  [
    'a second layer without a first',
    (job) => {
      writeFileSync(join(job, 'layer-1.json'), readFileSync(join(job, 'layer-0.json')));
      rmSync(join(job, 'layer-0.json'));
    },
  ],
  ['states of another length', (job) => writeFileSync(join(job, 'hidden-1.f32'), 'short')],
  [
    'states that are a link',
    (job) => {
      writeFileSync(join(job, 'elsewhere'), Buffer.alloc(stateBytes));
      rmSync(join(job, 'hidden-1.f32'));
      symlinkSync(join(job, 'elsewhere'), join(job, 'hidden-1.f32'));
    },
  ],
  ['a FIFO in place of the settings', (job) => makeFifo(join(job, 'settings.json'))],
  ['a FIFO in place of a layer', (job) => makeFifo(join(job, 'layer-0.json'))],
  ['a FIFO in place of weights', (job) => makeFifo(join(job, 'layer-0.bin'))],
];

function makeFifo(path: string): void {
  rmSync(path);
  mkfifoSync(path);
}

const posix = process.platform === 'win32' ? { skip: 'no FIFOs and links here' } : {};
describe('it begins anew, without a word, where it finds', posix, () => {
  for (const [what, work] of damage) {
    it(what, async () => {
      const { dir, job } = await stopped();
      work(job);
      assert.equal((await open(dir)).layers.length, 0);
      assert.deepEqual(readdirSync(job), ['settings.json']);
    });
  }

  it('a link to another directory, which stays as it is', async () => {
    const { job } = await stopped();
    const dir = root.directory();
    symlinkSync(job, join(dir, 'predict-train.partial'));
    assert.equal((await open(dir)).layers.length, 0);
    assert.equal(readdirSync(job).length, 5);
    assert.ok(!statSync(join(dir, 'predict-train.partial')).isSymbolicLink());
  });

  it('a file', async () => {
    const dir = root.directory();
    writeFileSync(join(dir, 'predict-train.partial'), '');
    await open(dir);
    mkdirSync(join(dir, 'predict-train.partial', 'sub'));
  });
});
