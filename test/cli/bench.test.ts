/** `bench`: its rows, what they have in common, and what it leaves behind. */

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { before, describe, it } from 'node:test';
import type { RowReport } from '../../src/bench/report.ts';
import { assertRefused, assertWrongUsage, runCli, runCliJson, startCli } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { addPredictors, perfectPredictor } from '../support/predictors.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface Output {
  readonly rows: readonly RowReport[];
  readonly promptTokens: number;
  readonly sameTokens: { readonly exact: boolean | null; readonly predicted: boolean | null };
  readonly paper: { readonly rows: readonly { readonly row: string }[] };
}

const root = temporaryRoot();
const dir = root.directory();
const model = join(dir, 'model');
const plain = join(dir, 'plain');
const budget = 160 * 2 ** 20;
const few = ['--prompt-tokens', '20', '--max-tokens', '12', '--dram-budget', `${budget}`];
const prompt = 'One day, a little girl named Lily';

before(async () => {
  await convert(storiesOpt, plain);
  await convert(storiesOpt, model);
  await addPredictors(model, (layer, manifest) => perfectPredictor(model, layer, manifest));
});

describe('bench', { concurrency: 2 }, () => {
  it('measures every row, in the figures of the paper, with the same tokens', async () => {
    const [svg, html] = [join(dir, 'chart.svg'), join(dir, 'chart.html')];
    const charts = ['--svg', svg, '--html', html, '--label', 'a <small> one'];
    const { rows, ...found } = await runCliJson<Output>([
      ...['bench', model, ...few, '--repeat', '2', '--prompt', prompt, ...charts],
    ]);
    assert.deepEqual(
      rows.map(({ row }) => row),
      ['naive', 'hybrid', 'predictor', 'window', 'bundling', 'flashllm'],
    );
    assert.deepEqual(found.sameTokens, { exact: true, predicted: true });
    assert.equal(found.promptTokens, 20);
    assert.deepEqual(
      found.paper.rows.map(({ row }) => row),
      ['naive', 'hybrid', 'predictor', 'window', 'bundling'],
    );
    const by = new Map(rows.map((row) => [row.row, row]));
    const bytes = (row: string) =>
      by.get(row as RowReport['row'])?.flashBytesPerToken.median ?? Number.NaN;
    const reads = (row: string) => by.get(row as RowReport['row'])?.readsPerToken ?? Number.NaN;
    for (const { row, totalMs, ioMs, memoryMs, computeMs, runs, peakRss } of rows) {
      assert.equal(runs.length, 2);
      assert.ok(totalMs.low <= totalMs.median && totalMs.median <= totalMs.high);
      assert.ok(ioMs.median >= 0 && memoryMs.median >= 0 && computeMs.median > 0, row);
      assert.ok(peakRss <= budget, `${row}: ${peakRss}`);
      assert.equal(new Set(runs.map(({ flashBytesPerToken }) => flashBytesPerToken)).size, 1, row);
    }
    // Nothing stays: each token reads all the weights that it uses, and a block of each table.
    assert.equal(by.get('naive')?.dramBytes, 0);
    assert.ok(bytes('naive') > 2.4e6 && bytes('naive') < 3.2e6, `${bytes('naive')}`);
    // All of so small a model stays, but for what read-ahead may bring.
    assert.ok(bytes('hybrid') < 0.01 * bytes('naive'));
    assert.ok(bytes('predictor') > bytes('window'));
    assert.ok(reads('window') > reads('bundling'));
    assert.ok(bytes('flashllm') <= bytes('bundling'));
    assert.match(readFileSync(svg, 'utf8'), /^<svg [\s\S]*a &lt;small&gt; one[\s\S]*<\/svg>\n$/);
    const page = readFileSync(html, 'utf8');
    assert.match(page, /<table>[\s\S]*bundling/);
    assert.doesNotMatch(page.replaceAll('http://www.w3.org/2000/svg', ''), /https?:|<script|<link/);
    assert.deepEqual(leftBehind(), []);
  });

  it('computes what generate does', async () => {
    const generate = (exact: readonly string[]) =>
      runCliJson<{ promptTokens: number[]; tokens: number[] }>([
        ...['generate', model, '--prompt', prompt, '--max-tokens', '12', '--seed', '1', ...exact],
      ]);
    for (const [row, exact] of [
      ['naive', ['--exact']],
      ['flashllm', []],
    ] as const) {
      const { promptTokens, tokens } = await generate(exact);
      assert.ok(tokens.length > 3);
      const { rows } = await runCliJson<Output>([
        ...['bench', model, ...few.slice(2), '--prompt-tokens', `${promptTokens.length}`],
        ...['--rows', row, '--repeat', '1', '--prompt', prompt],
      ]);
      // The end of a sequence does not end a measurement.
      assert.deepEqual(rows[0]?.runs[0]?.tokens.slice(0, tokens.length), tokens);
    }
  });

  it('stops when it is interrupted, and takes away what it wrote', async () => {
    const scratch = root.directory();
    const { child, finished } = startCli([
      ...['bench', model, ...few, '--rows', 'window', '--repeat', '1000', '--scratch', scratch],
    ]);
    // It says first where it will write; a thousand measurements take longer than this.
    child.stderr?.once('data', () => setTimeout(() => child.kill('SIGINT'), 3000));
    const { code, stdout, stderr } = await finished;
    assert.equal(code, 130, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^interrupted$/m);
    assert.deepEqual(readdirSync(scratch), []);
  });

  it('measures what a model without predictors has, and says so', async () => {
    const args = ['bench', plain, ...few, '--repeat', '1', '--json'];
    const { code, stdout, stderr } = await runCli(args);
    assert.equal(code, 0, stderr);
    const { rows } = JSON.parse(stdout) as Output;
    assert.deepEqual(
      rows.map(({ row }) => row),
      ['naive', 'hybrid'],
    );
    assert.match(stderr, /no predictors: only rows that need none/);
    assertRefused(await runCli([...args, '--rows', 'window']), [
      'need predictors',
      'predict-train',
    ]);
  });

  it('refuses what cannot be measured', async () => {
    const bench = (...args: string[]) => runCli(['bench', model, ...few, ...args]);
    assertWrongUsage(await bench('--rows', 'naive,fast'), ["'fast' is none of naive"]);
    assertWrongUsage(await bench('--max-tokens', '1'), ['It must be a whole number of at least 2']);
    assertRefused(await bench('--max-tokens', '600'), ["exceed the model's context of 512"]);
    assertRefused(await bench('--prompt', 'a', '--data', 'b'), ['not both']);
    const floor = await bench('--dram-budget', '1MiB', '--rows', 'naive');
    assertRefused(floor, ['row naive', 'below the floor']);
    const nowhere = join(dir, 'nowhere');
    assertRefused(await bench('--rows', 'window', '--scratch', nowhere).then(withoutNotes), [
      nowhere,
    ]);
    assert.equal(existsSync(nowhere), false);
  });
});

/** What the comparison wrote beside the model and did not take away. */
function leftBehind(): string[] {
  return readdirSync(dir).filter((name) => name.startsWith(`${basename(model)}.`));
}

/** Leaves out what was said before the error. */
function withoutNotes<T extends { readonly stderr: string }>(result: T): T {
  return {
    ...result,
    stderr: result.stderr.replace(
      /^writing a temporary, unbundled copy of the neurons[^\n]+\n/,
      '',
    ),
  };
}
