/** `convert`: what it writes, that it appears whole or not at all, and that its budget holds. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { tokenCacheFile } from '../../src/tokenizer/token-files.ts';
import { withMemoryGroup } from '../support/cgroup.ts';
import { weightsFile, writeRandomOpt } from '../support/checkpoint.ts';
import {
  assertRefused,
  type RunningCli,
  runCli,
  runCliJson,
  runCliWell,
  startCli,
} from '../support/cli.ts';
import { tensorToBf16, tensorToF32 } from '../support/dtypes.ts';
import { storiesOpt, storiesOptBin } from '../support/fixtures.ts';
import { convert, readManifest } from '../support/model.ts';
import { readSafetensors, safetensorsHeader, type Tensor } from '../support/safetensors.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const parallel = { concurrency: availableParallelism() };
const model = join(root.path, 'model');
const weightFiles = ['bundles.safetensors', 'resident.safetensors'];
/** About 200 MB. */
const large = join(root.path, 'large');

before(async () => {
  mkdirSync(large);
  writeRandomOpt(large, { hidden: 1024, neurons: 4096, layers: 8 });
  await convert(storiesOpt, model);
});

describe('a converted model', parallel, () => {
  it('has the files of the checkpoint and its own', () => {
    const copied = [
      ...['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json'],
      ...['special_tokens_map.json', 'vocab.json', 'merges.txt'],
    ];
    assertEntries(model, [...copied, ...weightFiles, 'flash.json', tokenCacheFile]);
    for (const name of copied) {
      assert.deepEqual(readFileSync(join(model, name)), readFileSync(join(storiesOpt, name)), name);
    }
  });

  it('is made of valid safetensors without holes, every layer at a multiple of 4096', () => {
    const { tensors, layers } = readManifest(model);
    for (const name of weightFiles) {
      const file = readFileSync(join(model, name));
      const { entries, dataStart } = safetensorsHeader(file);
      assert.equal(dataStart % 4096, 0);
      let end = 0;
      for (const [tensor, { data_offsets: range }] of entries) {
        assert.equal(range[0], end, `a hole before ${tensor}`);
        end = range[1];
        const placed = tensors[tensor];
        if (placed !== undefined) assert.equal(placed.offset, dataStart + range[0]);
      }
      assert.equal(dataStart + end, file.length);
    }
    for (const { tensor, bundleBytes } of layers) {
      assert.equal(tensors[tensor]!.offset % 4096, 0);
      assert.equal(bundleBytes % 512, 0);
    }
  });

  it('has bundles of an up row, a down column and zeros', () => {
    assertBundles(model, (tensor) => tensor);
  });

  const dtypes = [
    ['f16', (tensor: Tensor) => tensor],
    ['f32', tensorToF32],
    ['bf16', tensorToBf16],
  ] as const;
  for (const [dtype, expected] of dtypes) {
    it(`has its weights as ${dtype} when asked`, async () => {
      const converted = join(root.path, dtype);
      const report = await runCliJson<{ dtypes: unknown }>([
        ...['convert', storiesOpt, converted, '--dtype', dtype],
      ]);
      assert.deepEqual(report.dtypes, { resident: dtype, bundles: dtype });
      assertBundles(converted, expected);
      const { tensors } = readManifest(converted);
      const { file, offset, bytes } = tensors['embed.tokens']!;
      const stored = readFileSync(join(converted, file)).subarray(offset, offset + bytes);
      assert.deepEqual(stored, expected(checkpointTensor('embed_tokens.weight')).data);
      await runCliWell(['inspect', converted, '--verify']);
    });
  }

  it('is the same, byte for byte, every time and at every budget', async () => {
    const again = join(root.path, 'again');
    await convert(storiesOpt, again, '--dram-budget', '128MiB');
    assertSameFiles(model, again);
  });

  it('has the same weights from a pickle', async () => {
    const pickled = join(root.path, 'pickled');
    await convert(storiesOptBin, pickled);
    for (const name of weightFiles) {
      assert.ok(readFileSync(join(pickled, name)).equals(readFileSync(join(model, name))), name);
    }
    assert.ok(existsSync(join(pickled, 'tokenizer.json')), 'no tokenizer.json was made');
  });

  it('may lie in directories that do not exist yet', async () => {
    const parent = root.directory();
    await convert(storiesOpt, join(parent, 'a', 'b', 'model'));
    assertEntries(join(parent, 'a', 'b'), ['model']);
  });
});

describe('the report of a conversion', parallel, () => {
  it('is one line for people, on stderr', async () => {
    const output = join(root.directory(), 'model');
    const { stdout, stderr } = await runCliWell(['convert', storiesOpt, output]);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /^opt: 6 layers, hidden 128, FFN of 512 neurons, relu, f16; most .*\nwrote /,
    );
    assert.match(stderr, /peak memory \d+(\.\d+)? MiB of 512 MiB\n$/);
  });

  it('is an object for programs', async () => {
    const output = join(root.directory(), 'model');
    const report = await runCliJson<Record<string, unknown>>(['convert', storiesOpt, output]);
    assert.equal(report.output, output);
    assert.equal(report.dramBudget, 512 * 2 ** 20);
    assert.equal(report.dryRun, false);
    const bytes = weightFiles.reduce((sum, name) => sum + statSync(join(output, name)).size, 0);
    assert.equal(report.modelBytes, bytes);
    assert.ok((report.peakRss as number) < 512 * 2 ** 20);
  });

  it('of a dry run tells what would be written, and nothing is', async () => {
    const parent = root.directory();
    const args = ['convert', storiesOpt, join(parent, 'a', 'model'), '--dry-run'];
    const { stderr } = await runCliWell(args);
    assert.match(stderr, /would write .*2\.90 MiB -> 2\.93 MiB; nothing was written$/m);
    assert.equal((await runCliJson<{ dryRun: boolean }>(args)).dryRun, true);
    assertEntries(parent, []);
  });
});

describe('a conversion that is stopped', () => {
  it('leaves nothing when it is interrupted', async () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const parent = root.directory();
      const run = startCli(['convert', large, join(parent, 'a', 'model')]);
      await untilWritten(run, join(parent, 'a'), 5e6);
      run.child.kill(signal);
      const { code, stderr } = await run.finished;
      assert.equal(code, signal === 'SIGINT' ? 130 : 143, stderr);
      assert.equal(stderr, 'interrupted\n');
      assertEntries(parent, []);
    }
  });

  it('leaves nothing that looks like a model when it is killed, and the next sweeps up', async () => {
    const parent = root.directory();
    const output = join(parent, 'model');
    for (const bytes of [0, Math.random() * 1.5e8, 1.8e8]) {
      const run = startCli(['convert', large, output]);
      await untilWritten(run, parent, bytes);
      run.child.kill('SIGKILL');
      assert.equal((await run.finished).signal, 'SIGKILL');
      assert.ok(!existsSync(output), `${output} is there`);
      const [left = ''] = readdirSync(parent);
      assert.match(left, /^model\.partial-\d+-/);
      assertRefused(await runCli(['inspect', join(parent, left)]), ['is not a flashllm model']);
    }
    await convert(storiesOpt, output);
    assertEntries(parent, ['model']);
    await runCliWell(['inspect', output, '--verify']);
  });

  it('leaves the model that it was to replace', async () => {
    const parent = root.directory();
    const output = await convert(storiesOpt, join(parent, 'model'));
    const run = startCli(['convert', large, output, '--force']);
    await untilWritten(run, parent, 1e7);
    run.child.kill('SIGKILL');
    await run.finished;
    assertSameFiles(model, output);
  });
});

describe('the budget of a conversion', () => {
  const budget = 160 * 2 ** 20;
  const args = (output: string) => ['convert', large, output, '--dram-budget', String(budget)];

  it('bounds its memory', async () => {
    const output = join(root.directory(), 'model');
    const { peakRss } = await runCliJson<{ peakRss: number }>(args(output));
    assert.ok(peakRss <= budget, `${peakRss} of ${budget} bytes`);
  });

  it('is enough where the kernel allows no more', async (t) => {
    const output = join(root.directory(), 'model');
    await withMemoryGroup(t, budget, async ({ under, kills }) => {
      const { code, signal, stderr } = await runCli(args(output), { under });
      assert.equal(code, 0, `${signal} ${stderr}`);
      assert.equal(kills(), 0);
    });
  });
});

/** Waits until a conversion into `parent` has written more than `bytes`, or just begun with 0. */
async function untilWritten({ child }: RunningCli, parent: string, bytes: number): Promise<void> {
  for (;;) {
    assert.equal(child.exitCode, null, 'the conversion ended before it could be stopped');
    const names = existsSync(parent) ? readdirSync(parent) : [];
    const partial = names.find((name) => name.includes(`.partial-${child.pid}`));
    if (partial !== undefined) {
      const dir = join(parent, partial);
      const sizes = readdirSync(dir).map((name) => statSync(join(dir, name)).size);
      if (sizes.reduce((sum, size) => sum + size, 0) >= bytes) return;
    }
    await sleep(2);
  }
}

function checkpointTensor(name: string): Tensor {
  const tensor = readSafetensors(join(storiesOpt, weightsFile)).get(`model.decoder.${name}`);
  assert.ok(tensor !== undefined, name);
  return tensor;
}

/** Compares bundles with the checkpoint's rows and columns, as `expected` makes them. */
function assertBundles(dir: string, expected: (tensor: Tensor) => Tensor): void {
  const { tensors, layers } = readManifest(dir);
  const bundles = readFileSync(join(dir, 'bundles.safetensors'));
  const hidden = 128;
  for (const [layer, { tensor, neurons, bundleBytes, downOffset }] of layers.entries()) {
    const up = expected(checkpointTensor(`layers.${layer}.fc1.weight`)).data;
    const down = expected(checkpointTensor(`layers.${layer}.fc2.weight`)).data;
    const bytes = up.length / (neurons * hidden);
    assert.equal(downOffset, hidden * bytes);
    for (const neuron of [0, 1, 37, 255, neurons - 1]) {
      const at = tensors[tensor]!.offset + neuron * bundleBytes;
      const column = Array.from({ length: hidden }, (_, row) => {
        const start = (row * neurons + neuron) * bytes;
        return down.subarray(start, start + bytes);
      });
      const bundle = Buffer.concat([
        up.subarray(neuron * downOffset, (neuron + 1) * downOffset),
        ...column,
        Buffer.alloc(bundleBytes - 2 * downOffset),
      ]);
      const what = `layer ${layer}, neuron ${neuron}`;
      assert.ok(bundles.subarray(at, at + bundleBytes).equals(bundle), what);
    }
  }
}

function assertSameFiles(expected: string, found: string): void {
  assertEntries(found, readdirSync(expected));
  for (const name of readdirSync(expected)) {
    const same = readFileSync(join(found, name)).equals(readFileSync(join(expected, name)));
    assert.ok(same, `${name} differs`);
  }
}
