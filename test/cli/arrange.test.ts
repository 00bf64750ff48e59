/** predict-train --arrange: another order on flash, the same model. */

import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';
import type { Manifest } from '../../src/flash/manifest.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { tensorNames } from '../../src/models/spec.ts';
import { assertRefused, runCli, runCliJson, runCliWell, startCli } from '../support/cli.ts';
import { calibText, storiesOpt, validText } from '../support/fixtures.ts';
import { convert, copyModel } from '../support/model.ts';
import { writePublished } from '../support/published.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { withTmpfs } from '../support/tmpfs.ts';

interface Report {
  readonly resumed: number;
  readonly arrangement?: {
    readonly done: boolean;
    readonly readBefore: number;
    readonly readAfter: number;
    readonly reason?: string;
  };
}

const root = temporaryRoot();
let model = '';
let text = '';
before(async () => {
  model = await convert(storiesOpt, join(root.directory(), 'model'));
  text = join(root.directory(), 'valid.txt');
  writeFileSync(text, readFileSync(validText, 'utf8').slice(0, 20_000));
});

const quick = ['--data', calibText, '--max-tokens', '6000', '--epochs', '1'];
const fresh = () => copyModel(model, join(root.directory(), 'model'));
const train = (dir: string, ...flags: string[]) =>
  runCliJson<Report>(['predict-train', dir, ...quick, ...flags]);
const evaluate = (dir: string, ...flags: string[]) =>
  runCliJson<{ nll: number; predictor?: { predicted: number; recall: number } }>([
    ...['eval', dir, '--data', text, '--context', '128'],
    ...flags,
  ]);
/** Directories beside a model that are not it. */
const beside = (dir: string) => readdirSync(dirname(dir)).filter((name) => name !== 'model');
const near = (a: number, b: number, tolerance: number) =>
  assert.ok(Math.abs(a - b) <= tolerance * Math.abs(b), `${a} is not ${b}`);

function rowsOf(dir: string, { tensors }: Manifest, name: string, rows: number): Buffer[] {
  const tensor = tensors.get(name);
  assert.ok(tensor !== undefined, name);
  const all = readFileSync(join(dir, tensor.file)).subarray(tensor.offset);
  const bytes = tensor.bytes / rows;
  return Array.from({ length: rows }, (_, i) => all.subarray(i * bytes, (i + 1) * bytes));
}

test('the model is the same in another order, and reads less', async () => {
  const [plain, arranged] = [fresh(), fresh()];
  await train(plain, '--no-arrange');
  const { arrangement } = await train(arranged, '--arrange');
  assert.ok(arrangement?.done, JSON.stringify(arrangement));
  assert.ok(arrangement.readAfter < 0.9 * arrangement.readBefore, JSON.stringify(arrangement));
  assert.deepEqual(beside(arranged), [], 'nothing stays behind');

  const [before, after] = [await readManifest(plain), await readManifest(arranged)];
  for (const [layer, { order, neurons }] of after.layers.entries()) {
    assert.ok(order !== undefined);
    assert.equal(new Set(order).size, neurons);
    for (const name of [tensorNames.bundles(layer), tensorNames.upBias(layer)]) {
      const [old, moved] = [
        rowsOf(plain, before, name, neurons),
        rowsOf(arranged, after, name, neurons),
      ];
      for (const [place, neuron] of order.entries()) {
        assert.ok(moved[place]?.equals(old[neuron] ?? Buffer.alloc(0)), `${name} ${place}`);
      }
    }
  }
  await runCliWell(['inspect', arranged, '--verify']);
  const { layers } = await runCliJson<{ layers: object[] }>(['inspect', arranged]);
  for (const layer of layers) assert.ok('arranged' in layer && !('order' in layer));
  near((await evaluate(arranged, '--exact')).nll, (await evaluate(plain, '--exact')).nll, 1e-6);
  const [one, two] = [await evaluate(arranged), await evaluate(plain)];
  // A neuron at the threshold may fall to either side: sums are in another order.
  near(one.nll, two.nll, 1e-5);
  near(one.predictor?.predicted ?? 0, two.predictor?.predicted ?? 1, 1e-4);
  near(one.predictor?.recall ?? 0, two.predictor?.recall ?? 1, 1e-4);
});

test('a small model is left as it is unless it is asked for', async () => {
  const dir = fresh();
  const before = readFileSync(join(dir, 'flash.json'));
  assert.equal((await train(dir)).arrangement, undefined);
  assert.ok(readFileSync(join(dir, 'flash.json')).equals(before));
});

test('killed while it writes, the model is whole, and the next run goes on from there', async () => {
  const dir = fresh();
  const running = startCli(['predict-train', dir, ...quick, '--arrange', '--json']);
  const watching = setInterval(() => {
    if (beside(dir).length > 0) running.child.kill('SIGKILL');
  }, 1);
  const { code } = await running.finished;
  clearInterval(watching);
  assert.notEqual(code, 0, 'it was killed before its end');
  await runCliWell(['generate', dir, '--prompt', 'Once', '--max-tokens', '3']);
  const report = await train(dir, '--arrange');
  assert.equal(report.resumed, 6);
  assert.equal(report.arrangement?.done, true);
  assert.deepEqual(beside(dir), []);
  await runCliWell(['inspect', dir, '--verify']);
});

test('where no directory can take its place, the model keeps its order and its predictors', async (t) => {
  const dir = join(root.directory(), 'model');
  mkdirSync(dir);
  await withTmpfs(t, dir, 'size=32m', async () => {
    await convert(storiesOpt, join(dir, 'inside'));
    for (const name of readdirSync(join(dir, 'inside'))) {
      writeFileSync(join(dir, name), readFileSync(join(dir, 'inside', name)));
    }
    const { arrangement } = await train(dir, '--arrange');
    assert.equal(arrangement?.done, false);
    assert.match(arrangement.reason ?? '', /mount point/);
    assert.ok(!existsSync(join(dir, 'predict-train.partial')));
    assert.ok((await evaluate(dir)).predictor !== undefined);
  });
});

test('published predictors, which number neurons as the checkpoint does, fit the new order', async () => {
  const published = root.directory();
  writePublished(published, { layers: 6, rank: 40, hidden: 128, neurons: 512 });
  const [plain, arranged] = [fresh(), fresh()];
  await train(arranged, '--arrange');
  await train(arranged, '--import', published);
  await train(plain, '--import', published);
  const [one, two] = [await evaluate(arranged), await evaluate(plain)];
  near(one.predictor?.predicted ?? 0, two.predictor?.predicted ?? 1, 1e-3);
  near(one.predictor?.recall ?? 0, two.predictor?.recall ?? 1, 1e-3);
  near(one.nll, two.nll, 1e-4);
});

test('a model that a killed process had put aside is named', async () => {
  const dir = fresh();
  renameSync(dir, `${dir}.replaced-1234`);
  const result = await runCli(['generate', dir, '--prompt', 'Once']);
  assertRefused(result, ['no such directory', 'model.replaced-1234']);
});
