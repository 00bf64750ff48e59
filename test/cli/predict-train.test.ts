/** predict-train as its users run it: what it writes, what it survives, and what it refuses. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { ReadingFactors } from '../../src/engine/reading-factors.ts';
import { predictorsFile } from '../../src/flash/predictor-file.ts';
import { withMemoryGroup } from '../support/cgroup.ts';
import { changeConfig, copyStories, writeRandomOpt } from '../support/checkpoint.ts';
import { assertRefused, runCli, runCliJson, runCliWell, startCli } from '../support/cli.ts';
import { calibText, familyFixture, storiesOpt, validText } from '../support/fixtures.ts';
import { convert, copyModel, runAtFloor } from '../support/model.ts';
import { writePublished } from '../support/published.ts';
import { temporaryRoot } from '../support/temporary.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
let model = '';
before(async () => {
  model = await convert(storiesOpt, join(root.directory(), 'model'));
});

interface Report {
  readonly layers: readonly {
    readonly rank: number;
    readonly used: boolean;
    readonly sparsity: number;
    readonly predicted: number;
    readonly recall: number;
    readonly precision: number;
    readonly mass: number;
  }[];
  readonly tokens: number;
  readonly bytes: number;
  readonly modelBytes: number;
  readonly resumed: number;
  readonly peakRss: number;
}

const quick = ['--data', calibText, '--max-tokens', '4000', '--epochs', '1'];
/** Without it, a line says what the budget is. */
const plenty = ['--dram-budget', '512MiB'];
const fresh = () => copyModel(model, join(root.directory(), 'model'));
const predictorsOf = (dir: string) => readFileSync(join(dir, predictorsFile));
const train = (dir: string, ...flags: string[]) =>
  runCliJson<Report>(['predict-train', dir, ...flags]);
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

test('the same text and seed give the same bytes, on any number of threads', async () => {
  const [one, two, other] = [fresh(), fresh(), fresh()];
  await train(one, ...quick, '--threads', '1');
  await train(two, ...quick, '--threads', '2', '--dram-budget', '160MiB');
  await train(other, ...quick, '--threads', '2', '--seed', '2');
  assert.ok(predictorsOf(one).equals(predictorsOf(two)));
  assert.ok(!predictorsOf(one).equals(predictorsOf(other)));
  const entries = readdirSync(one).filter((name) => name.includes('partial'));
  assert.deepEqual(entries, [], 'nothing half done stays behind');
});

test('training beats the SVD at the same ranks, within the size, and eval agrees with its report', async () => {
  const [trained, svd] = [fresh(), fresh()];
  const tokens = ['--data', calibText, '--max-tokens', '16000', '--rank', '32'];
  const report = await train(trained, ...tokens);
  const baseline = await train(svd, ...tokens, '--method', 'svd');
  const predicted = (r: Report) => sum(r.layers.map((layer) => layer.predicted));
  assert.ok(predicted(report) < 0.6 * predicted(baseline), 'training is worth its time');
  for (const layer of report.layers) {
    assert.equal(layer.rank, 32);
    assert.ok(layer.mass > 0.98, `mass ${layer.mass}`);
    assert.ok(layer.recall > 0.8 && layer.precision > 0.2, JSON.stringify(layer));
  }
  const lines = readFileSync(validText, 'utf8').slice(0, 20_000);
  const text = join(root.directory(), 'valid.txt');
  writeFileSync(text, lines);
  const { predictor, perplexity } = await runCliJson<{
    perplexity: number;
    predictor: {
      recall: number;
      mass: number;
      active: number;
      predicted: number;
      exactPerplexity: number;
      hitRate: number;
      reading: ReadingFactors;
    };
  }>(['eval', trained, '--data', text, '--context', '256']);
  assert.ok(Math.abs(perplexity / predictor.exactPerplexity - 1) < 0.02);
  assert.ok(predictor.mass > 0.97, `mass ${predictor.mass}`);
  const { activeBytes, predictedBytes, missedBytes, aggregated } = predictor.reading;
  const ratio = predictor.predicted / predictor.active;
  assert.ok(Math.abs(predictedBytes / activeBytes / ratio - 1) < 1e-9, 'the same in bytes');
  assert.ok(Math.abs(1 - missedBytes / predictedBytes - predictor.hitRate) < 1e-9);
  const [one] = aggregated;
  assert.ok(one && Math.abs(one.used / predictor.active - 1) < 0.2, JSON.stringify(one));
  const mean = predicted(report) / report.layers.length;
  assert.ok(Math.abs(predictor.predicted / mean - 1) < 0.3, `${predictor.predicted}, ${mean}`);
});

test('ranks are chosen within the share that is asked for', async () => {
  const shares = ['--method', 'svd', '--share'];
  for (const share of [4, 8]) {
    const report = await train(fresh(), ...quick, ...shares, `${share}`);
    assert.ok(report.bytes <= (share / 100) * report.modelBytes, `${report.bytes}`);
    assert.ok(report.layers.every(({ rank }) => rank >= 32));
  }
  const refused = await runCli(['predict-train', fresh(), ...quick, ...plenty, ...shares, '2']);
  assertRefused(refused, [/the smallest predictors take 3\.\d%/]);
});

test('killed in any layer and started again, it ends with the same predictors', async () => {
  const whole = fresh();
  await train(whole, ...quick);
  const killed = fresh();
  // Each time one layer further, then through.
  for (let layers = 1; layers <= 5; layers++) {
    const finished = join(killed, 'predict-train.partial', `layer-${layers - 1}.json`);
    const running = startCli(['predict-train', killed, ...quick, '--json']);
    const watching = setInterval(() => {
      if (existsSync(finished)) running.child.kill('SIGKILL');
    }, 2);
    const { code } = await running.finished;
    clearInterval(watching);
    assert.notEqual(code, 0, 'it was killed before its end');
    assert.ok(!existsSync(join(killed, predictorsFile)));
  }
  const report = await train(killed, ...quick);
  assert.ok(report.resumed >= 5, `${report.resumed} layers taken over`);
  assert.ok(predictorsOf(killed).equals(predictorsOf(whole)));
});

test('interrupted, it says so, keeps what is finished, and other settings begin anew', async () => {
  const dir = fresh();
  const running = startCli(['predict-train', dir, ...quick, '--json']);
  const first = join(dir, 'predict-train.partial', 'layer-0.json');
  const watching = setInterval(() => {
    if (existsSync(first)) running.child.kill('SIGINT');
  }, 2);
  const { code, stdout } = await running.finished;
  clearInterval(watching);
  assert.equal(code, 130);
  assert.equal(stdout, '');
  assert.ok(existsSync(first));
  const report = await train(dir, ...quick, '--seed', '3');
  assert.equal(report.resumed, 0);
});

test('a corpus that cannot be used is refused by name', async () => {
  const dir = root.directory();
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  const bytes = Uint8Array.from({ length: 30_000 }, (_, i) => (i * 7919) % 256);
  const cases = [
    [file('empty.txt', ''), /holds no tokens/],
    [file('blank.txt', '\n\n\n'), /holds (no|\d+) tokens/],
    [
      file('short.txt', 'Once upon a time.'),
      /holds \d+ tokens; training takes at least one window of 512/,
    ],
    [file('binary.txt', bytes), /is not text/],
    [join(dir, 'absent.txt'), /absent\.txt/],
    [dir, /directory/],
  ] as const;
  const target = fresh();
  for (const [corpus, reason] of cases) {
    const result = await runCli(['predict-train', target, '--data', corpus]);
    assert.equal(result.code, 2, `${corpus}: ${result.stderr}`);
    assert.match(result.stderr, reason);
    assert.ok(result.stderr.includes(corpus), result.stderr);
  }
  assert.ok(!existsSync(join(target, predictorsFile)));
  assert.ok(!existsSync(join(target, 'predict-train.partial')));
});

test('a model without ReLU, a rank beyond the model, too few tokens or memory are refused', async () => {
  const gelu = changeConfig(copyStories(join(root.directory(), 'gelu')), {
    activation_function: 'gelu',
  });
  const geluModel = await convert(gelu, join(root.directory(), 'model'));
  assertRefused(await runCli(['predict-train', geluModel, ...quick, ...plenty]), [
    'gelu',
    geluModel,
  ]);
  const rank = await runCli(['predict-train', model, ...quick, ...plenty, '--rank', '129']);
  assertRefused(rank, [/1 to 128/]);
  const few = ['--data', calibText, '--max-tokens', '256', ...plenty];
  const tooFew = await runCli(['predict-train', model, ...few]);
  assertRefused(tooFew, [
    /--max-tokens 256 is less than one window of 512 tokens/,
    /--max-tokens 512 or more/,
  ]);
  const small = await runCli(['predict-train', model, ...quick, '--dram-budget', '20MiB']);
  assertRefused(small, [/below the .* that training takes: process .*, resident weights/]);
});

test('the budget is a ceiling that the kernel enforces', async (t) => {
  const dir = root.directory();
  const geometry = { hidden: 768, neurons: 3072, layers: 2 };
  const checkpoint = writeRandomOpt(join(dir), geometry);
  const large = await convert(checkpoint, join(root.directory(), 'model'));
  const flags = ['--data', calibText, '--max-tokens', '3000', '--epochs', '1', '--json'];
  const { stderr } = await runCli(['predict-train', large, ...flags, '--dram-budget', '20MiB']);
  const least = Number(/Give at least (\d+)MiB/.exec(stderr)?.[1]);
  assert.ok(least > 50, stderr);
  await withMemoryGroup(t, least * MIB, async (group) => {
    const budget = ['--dram-budget', `${least}MiB`];
    const result = await runCli(['predict-train', large, ...flags, ...budget], {
      under: group.under,
    });
    assert.equal(result.code, 0, result.stderr);
    assert.ok((JSON.parse(result.stdout) as Report).peakRss <= least * MIB);
    assert.equal(group.kills(), 0);
  });
});

test('published predictors are imported, and those of another model are refused', async () => {
  const published = root.directory();
  writePublished(published, { layers: 6, rank: 40, hidden: 128, neurons: 512 });
  const dir = fresh();
  const report = await train(dir, ...quick, '--import', published);
  // Random ones can keep the activations only by wanting nearly everything.
  for (const { rank, mass, predicted } of report.layers) {
    assert.equal(rank, 40);
    assert.ok(mass > 0.98 && predicted > 0.5, JSON.stringify({ mass, predicted }));
  }
  await runCliWell(['generate', dir, '--prompt', 'Once', '--max-tokens', '5']);

  const other = root.directory();
  writePublished(other, { layers: 6, rank: 8, hidden: 64, neurons: 512 });
  const refused = await runCli(['predict-train', fresh(), ...quick, ...plenty, '--import', other]);
  assertRefused(refused, ['model_0.pt', 'fc1.weight', '(8, 64)', 'hidden size of 128']);
  const empty = join(root.directory(), 'empty');
  mkdirSync(empty);
  const missing = await runCli(['predict-train', fresh(), ...quick, ...plenty, '--import', empty]);
  assertRefused(missing, ['model_0.pt']);
});

test('where nothing is exactly 0, a share of the neurons is left out by the size of their gates', async () => {
  const gated = await convert(familyFixture('llama'), join(root.directory(), 'model'));
  const flags = ['--data', calibText, '--max-tokens', '3000', ...plenty];
  const dense = await runCli(['predict-train', gated, ...flags]);
  assertRefused(dense, ['silu', '--threshold-sparsity']);
  const text = join(root.directory(), 'valid.txt');
  writeFileSync(text, readFileSync(validText, 'utf8').slice(0, 3000));
  let before = 0;
  for (const share of [0.7, 0.3]) {
    const report = await train(gated, ...flags, '--threshold-sparsity', `${share}`);
    for (const layer of report.layers) {
      assert.ok(layer.used);
      assert.ok(Math.abs(1 - layer.predicted - share) < 0.03, `${layer.predicted} at ${share}`);
      assert.ok(layer.recall > 0.85 && layer.precision > 0.85, JSON.stringify(layer));
    }
    const { predictor } = await runCliJson<{ predictor: { mass: number; predicted: number } }>([
      ...['eval', gated, '--data', text],
    ]);
    // The largest carry more than their share.
    assert.ok(Math.abs(1 - predictor.predicted - share) < 0.05, `${predictor.predicted}`);
    assert.ok(predictor.mass > 1 - share + 0.1 && predictor.mass < 0.995, `${predictor.mass}`);
    assert.ok(predictor.mass > before);
    before = predictor.mass;
  }
  const generate = [
    'generate',
    gated,
    '--prompt',
    'Once',
    '--temperature',
    '0',
    '--max-tokens',
    '8',
  ];
  const whole = await runCliJson<{ tokens: number[] }>([...generate, ...plenty]);
  const tight = await runAtFloor([...generate, '--json']);
  assert.equal(tight.code, 0, tight.stderr);
  assert.deepEqual((JSON.parse(tight.stdout) as typeof whole).tokens, whole.tokens);

  const relu = await runCli(['predict-train', model, ...flags, '--threshold-sparsity', '0.5']);
  assertRefused(relu, ['relu', 'Train without --threshold-sparsity']);
});
