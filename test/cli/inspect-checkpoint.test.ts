/** `inspect` and `plan` of checkpoints: what they would become, and what keeps them from it. */

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { changeConfig, copyStories, weightsFile } from '../support/checkpoint.ts';
import { assertRefused, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert, readManifest } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface Report {
  readonly runs: boolean;
  readonly problems: readonly string[];
  readonly architecture: { readonly family: string };
  readonly formats: Readonly<Record<string, number>> | null;
  readonly dtypes: { readonly resident: string };
  readonly ffn: { readonly activation: string; readonly sparse: boolean };
  readonly checkpointBytes: number | null;
  readonly modelBytes: number;
  readonly tensors: readonly { readonly name: string; readonly bytes: number }[];
  readonly outlook: { readonly floor: number; readonly fitsWhole: boolean };
}

const root = temporaryRoot();
const model = join(root.path, 'model');
const inspect = (path: string) => runCliJson<Report>(['inspect', path]);

before(() => convert(storiesOpt, model));

describe('a checkpoint before its conversion', { concurrency: 2 }, () => {
  it('is shown as the model it would be', async () => {
    const { stdout, stderr } = await runCliWell(['inspect', storiesOpt]);
    assert.equal(stderr, '');
    for (const line of [
      /^format +Hugging Face$/m,
      /^weights +f16, 2\.90 MiB$/m,
      /^FFN +512 neurons, relu$/m,
      /^sparsity +most neurons are 0: predictors pay$/m,
      /^converted +f16, 2\.93 MiB$/m,
      /^runs +yes, once converted$/m,
      /^Needs at least [\d.]+ MiB for 512 of its 512 positions\. With .*fit\.$/m,
    ]) {
      assert.match(stdout, line);
    }
  });

  it('has the tensors that conversion then writes', async () => {
    const report = await inspect(storiesOpt);
    const { tensors } = readManifest(model);
    assert.equal(report.runs, true);
    assert.deepEqual(
      report.tensors.map(({ name, bytes }) => [name, bytes]).sort(),
      Object.entries(tensors)
        .map(([name, { bytes }]) => [name, bytes])
        .sort(),
    );
    assert.deepEqual(report.ffn, { neurons: 512, activation: 'relu', sparse: true });
  });

  it('is planned as the model is', async () => {
    interface Plan {
      readonly items: readonly { readonly name: string; readonly bytes: number }[];
      readonly flashBytesPerToken: number;
      readonly floor: number;
      readonly checkpoint?: { readonly runs: boolean };
    }
    const plan = (path: string) =>
      runCliJson<Plan>(['plan', path, '--dram-budget', '128MiB', '--threads', '1']);
    const [before, after] = [await plan(storiesOpt), await plan(model)];
    assert.equal(before.checkpoint?.runs, true);
    assert.equal(after.checkpoint, undefined);
    assert.equal(before.flashBytesPerToken, after.flashBytesPerToken);
    // What the process itself takes differs a little from one run to the next.
    const planned = ({ items }: Plan) => items.filter(({ name }) => name !== 'process');
    assert.deepEqual(planned(before), planned(after));
  });
});

describe('a checkpoint that cannot be converted', { concurrency: 2 }, () => {
  it('tells what is missing, and still what it is', async () => {
    const noTokenizer = copyStories(root.directory());
    for (const name of ['tokenizer.json', 'vocab.json', 'merges.txt']) {
      rmSync(join(noTokenizer, name), { force: true });
    }
    const report = await inspect(noTokenizer);
    assert.equal(report.runs, false);
    assert.equal(report.problems.length, 1);
    assert.match(report.problems[0] ?? '', /no tokenizer/);
    assert.equal(report.architecture.family, 'opt');

    const stub = copyStories(root.directory());
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n';
    writeFileSync(join(stub, weightsFile), pointer);
    const { stdout } = await runCliWell(['inspect', stub]);
    assert.match(stdout, /^weights +cannot be opened$/m);
    assert.match(stdout, /^runs +no$/m);
    assert.match(stdout, /^because +.*model\.safetensors: is a git-LFS pointer/m);
    assert.match(stdout, /^converted +f16, 2\.93 MiB$/m);
  });

  it('tells where configuration and weights differ', async () => {
    const dir = changeConfig(copyStories(root.directory()), { num_hidden_layers: 7 });
    const { runs, problems, formats } = await inspect(dir);
    assert.equal(runs, false);
    assert.match(problems.join(), /has no tensor model\.decoder\.layers\.6\./);
    assert.equal(formats, null);
  });

  it('is refused when its family is unknown, or it has checksums to verify', async () => {
    const dir = changeConfig(copyStories(root.directory()), { model_type: 'mamba' });
    assertRefused(await runCli(['inspect', dir]), ["model_type 'mamba' is not supported"]);
    assertRefused(await runCli(['inspect', storiesOpt, '--verify']), ['is a checkpoint']);
  });
});
