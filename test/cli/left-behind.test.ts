/** What killed processes leave: a whole model, and nothing once the command is run again. */

import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { before, describe, it, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownedName } from '../../src/owned.ts';
import {
  assertRefused,
  type RunningCli,
  runCli,
  runCliJson,
  runCliWell,
  startCli,
} from '../support/cli.ts';
import { calibText, storiesOpt } from '../support/fixtures.ts';
import { convert, copyModel } from '../support/model.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
let model = '';
before(async () => {
  model = await convert(storiesOpt, join(root.directory(), 'model'));
});

const fresh = () => copyModel(model, join(root.directory(), 'model'));
const quick = ['--data', calibText, '--max-tokens', '1024', '--rank', '8', '--method', 'svd'];
const plenty = ['--dram-budget', '512MiB'];
const train = (dir: string, ...flags: string[]) => [
  'predict-train',
  dir,
  ...quick,
  ...plenty,
  ...flags,
];
const dead = 'partial-999999999';

/** Names that end as ours do, and are not: nobody may take them. */
const others = [
  'model.partial-notes',
  'model.partial-12x',
  'model2.partial-999999999',
  'model.replaced',
];

/** What is in a directory; nothing while it has another name. */
function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

/** Waits until an entry of the model's directory, or of the one that it is in, has `part` in its name. */
async function untilThere({ child }: RunningCli, dir: string, part: string): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    const names = [dir, dirname(dir)].flatMap(namesIn);
    if (names.some((name) => name.includes(part))) return true;
    await sleep(1);
  }
  return false;
}

describe('two processes', () => {
  it('that train one model: the second names the first and stops, the first ends well', async () => {
    const dir = fresh();
    const first = startCli(train(dir, '--json'));
    assert.ok(await untilThere(first, dir, 'predict-train.running-'));
    // However fast it is, it is not done before the second one has looked.
    const held = process.platform !== 'win32' && first.child.kill('SIGSTOP');
    const second = await runCli(train(dir, '--rank', '16'));
    if (held) first.child.kill('SIGCONT');
    assertRefused(second, [`${dir}: is being trained by process ${first.child.pid}`, 'Wait until']);
    const { code, stderr } = await first.finished;
    assert.equal(code, 0, stderr);
    assertEntries(dir, [...readdirSync(model), 'predictors.safetensors']);
  });

  it('of which one trains a model: the other does not replace it', async () => {
    const dir = fresh();
    const running = ownedName(join(dir, 'predict-train'), 'running');
    writeFileSync(running, '');
    const result = await runCli(['convert', storiesOpt, dir, '--force']);
    assertRefused(result, [`${dir}: is being trained by process ${process.pid}`]);
    rmSync(running);
    assertEntries(dir, readdirSync(model));
    assertEntries(dirname(dir), ['model']);
  });

  it('of which one writes a model: the other neither writes nor trains there', async () => {
    const dir = fresh();
    const partial = ownedName(dir, 'partial');
    mkdirSync(partial);
    const convertOver = await runCli(['convert', storiesOpt, dir, '--force']);
    assertRefused(convertOver, [`${dir}: is being written by process ${process.pid}`]);
    assertRefused(await runCli(train(dir)), [
      `${dir}: is being replaced by process ${process.pid}`,
    ]);
    assertEntries(dir, readdirSync(model));
    assertEntries(dirname(dir), ['model', basename(partial)]);
  });
});

test('a rerun of predict-train sweeps what a killed one left, and only that', async () => {
  const dir = fresh();
  const parent = dirname(dir);
  for (const name of others) writeFileSync(join(parent, name), 'mine');
  writeFileSync(join(dir, 'predictors.safetensors.partial-mine'), 'mine');
  mkdirSync(`${dir}.${dead}`);
  mkdirSync(`${dir}.replaced-999999999`);
  writeFileSync(join(dir, `predictors.safetensors.${dead}`), 'half');
  writeFileSync(join(dir, 'predict-train.running-999999999'), '');
  mkdirSync(join(dir, 'predict-train.partial'));
  writeFileSync(join(dir, 'predict-train.partial', 'hidden-1.f32'), 'half');
  await runCliWell(train(dir, '--json'));
  assertEntries(parent, ['model', ...others]);
  assertEntries(dir, [
    ...readdirSync(model),
    'predictors.safetensors',
    'predictors.safetensors.partial-mine',
  ]);
});

test('a rerun of convert sweeps what a killed one left, and only that', async () => {
  const parent = root.directory();
  const dir = join(parent, 'model');
  for (const name of others) writeFileSync(join(parent, name), 'mine');
  mkdirSync(`${dir}.${dead}`);
  await convert(storiesOpt, dir);
  assertEntries(parent, ['model', ...others]);
});

test('a model that was put aside when its process was killed is back when the command is run again', async () => {
  const dir = fresh();
  renameSync(dir, `${dir}.replaced-999999999`);
  // Refused for what it is to import, which leaves no trace; before that, the model was put right.
  assertRefused(await runCli(train(dir, '--import', root.directory())), ['model_0.pt']);
  assertEntries(dir, readdirSync(model));
  assertEntries(dirname(dir), ['model']);
  await runCliWell(['inspect', dir, '--verify']);
});

test('killed at any moment of training and laying anew, the model is whole; a rerun leaves nothing', async () => {
  const moments = ['layer-', 'predictors.safetensors.partial-', 'model.replaced-'];
  const dir = fresh();
  const names = [...readdirSync(model), 'predictors.safetensors'];
  for (const moment of moments) {
    const running = startCli(train(dir, '--arrange', '--json'));
    const where = moment === 'layer-' ? join(dir, 'predict-train.partial') : dir;
    if (await untilThere(running, where, moment)) running.child.kill('SIGKILL');
    await running.finished;
    // Between two renames nothing has the name: the next run puts that right.
    if (existsSync(dir)) await runCliWell(['inspect', dir, '--verify']);
  }
  const { arrangement } = await runCliJson<{ arrangement?: { done: boolean } }>(
    train(dir, '--arrange'),
  );
  assert.ok(arrangement?.done !== undefined);
  assertEntries(dirname(dir), ['model']);
  assertEntries(dir, names);
  await runCliWell(['inspect', dir, '--verify']);
});

test('killed while it replaces a model, convert leaves one that is whole, and a rerun nothing else', async () => {
  const dir = fresh();
  const before = readFileSync(join(dir, 'flash.json'));
  const running = startCli(['convert', storiesOpt, dir, '--force', '--dtype', 'bf16']);
  if (await untilThere(running, dir, 'model.replaced-')) running.child.kill('SIGKILL');
  await running.finished;
  if (existsSync(dir)) await runCliWell(['inspect', dir, '--verify']);
  await convert(storiesOpt, dir, '--force');
  assertEntries(dirname(dir), ['model']);
  assert.ok(readFileSync(join(dir, 'flash.json')).equals(before));
});
