/** `plan`: what a budget is spent on, for people and for programs. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert, runAtFloor } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface Plan {
  readonly dramBudget: number;
  readonly weightBytes: number;
  readonly context: number;
  readonly chunk: number;
  readonly items: readonly { readonly name: string; readonly bytes: number }[];
  readonly usedBytesPerToken: number;
  readonly flashBytesPerToken: number;
  readonly fitsWhole: boolean;
}

const root = temporaryRoot();
const model = join(root.path, 'model');
const plan = (budget: string, ...flags: string[]) =>
  runCliJson<Plan>(['plan', model, '--dram-budget', budget, ...flags]);
const sum = ({ items }: Plan) => items.reduce((total, { bytes }) => total + bytes, 0);

// As float32, so that the weights take more than what differs in the process between two runs.
before(() => convert(storiesOpt, model, '--dtype', 'f32'));

describe('plan', { concurrency: 2 }, () => {
  it('shows a table that ends in a sum and a verdict', async () => {
    const args = ['plan', model, '--dram-budget', '512MiB', '--context', '64'];
    const { stdout, stderr } = await runCliWell(args);
    assert.equal(stderr, '');
    assert.match(stdout, /^item +bytes$/m);
    assert.match(stdout, /^process +[\d.]+ MiB$/m);
    assert.match(stdout, /^KV cache \(64 positions, f32\) +384 KiB$/m);
    assert.match(stdout, /^resident weights +5\.\d+ MiB$/m);
    assert.match(stdout, /^total +[\d.]+ MiB$/m);
    assert.match(stdout, /^Weights: 5\.79 MiB\. Budget: 512 MiB\. Floor: \d+(\.\d+)? MiB\.$/m);
    assert.match(stdout, /nothing is streamed\.\n$/);
  });

  it('keeps keys and values in half the bytes when it is asked to', async () => {
    const flags = ['--context', '64', '--kv-dtype', 'f16'];
    const { items } = await plan('512MiB', ...flags);
    const item = items.find(({ name }) => name === 'KV cache (64 positions, f16)');
    assert.equal(item?.bytes, 192 * 1024);
    const { stderr } = await runCli(['plan', model, '--dram-budget', '1MiB', ...flags]);
    assert.match(stderr, /KV cache \(64 positions, f16\) 192 KiB/);
    assert.match(stderr, /takes 3\.00 KiB per position/);
  });

  it('says how much is streamed when not all fits', async () => {
    const { stdout } = await runAtFloor(['plan', model]);
    assert.match(
      stdout,
      /^Each token reads [\d.]+ [KM]iB of 5\.\d+ MiB from flash: .* ms at .*\/s \(assumed; measure with probe\)\.$/m,
    );
  });

  it('gives programs the same, in bytes', async () => {
    const found = await plan('512MiB', '--context', '64');
    assert.equal(found.dramBudget, 512 * 2 ** 20);
    assert.equal(found.context, 64);
    assert.equal(found.fitsWhole, true);
    assert.equal(found.flashBytesPerToken, 0);
    assert.ok(found.usedBytesPerToken > 0 && found.usedBytesPerToken <= found.weightBytes);
    assert.ok(sum(found) <= found.dramBudget);
  });

  it('never plans for more than the budget', async () => {
    const { stdout } = await runAtFloor(['plan', model, '--context', '512', '--json']);
    const least = JSON.parse(stdout) as Plan;
    const more = await plan(`${least.dramBudget + 2 ** 20}`, '--context', '512');
    for (const found of [least, more]) {
      assert.equal(found.context, 512);
      assert.ok(sum(found) <= found.dramBudget, `${sum(found)} of ${found.dramBudget}`);
    }
  });

  it('finds a budget by itself and says which', async () => {
    const { stderr } = await runCliWell(['plan', model]);
    assert.match(stderr, /^DRAM budget [\d.]+ [KMGT]iB: 90% of .*; set it with --dram-budget\n$/);
  });
});
