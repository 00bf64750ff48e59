/** `eval`: what it prints, and that it can be interrupted. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { runCliJson, runCliWell, startCli } from '../support/cli.ts';
import { storiesOpt, validText } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface Evaluated {
  readonly tokens: number;
  readonly nll: number;
  readonly perplexity: number;
  readonly top1Agreement: number;
  readonly predictor: null;
  readonly stats: Readonly<Record<string, unknown>>;
}

const root = temporaryRoot();
const model = join(root.path, 'model');
const shortText = join(root.path, 'short.txt');
const args = ['eval', model, '--data', shortText, '--exact', '--dram-budget', '512MiB'];

before(async () => {
  await convert(storiesOpt, model);
  const [first = '', second = ''] = readFileSync(validText, 'utf8').split('<|endoftext|>');
  writeFileSync(shortText, `${first}<|endoftext|>${second}`);
});

describe('eval', { concurrency: 2 }, () => {
  it('prints three figures on stdout and the statistics on stderr', async () => {
    const [{ stdout, stderr }, found] = await Promise.all([
      runCliWell(args),
      runCliJson<Evaluated>(args),
    ]);
    const [, tokens, nll, perplexity] =
      /^tokens (\d+)\nnll (\d\.\d{6})\nperplexity (\d+\.\d{4})\n$/.exec(stdout) ?? [];
    assert.equal(Number(tokens), found.tokens);
    assert.ok(Math.abs(Number(nll) - found.nll) < 1e-6);
    assert.ok(Math.abs(Number(perplexity) - found.perplexity) < 1e-4);
    assert.match(stderr, /^prompt +\d+ tokens in /m);
    assert.match(stderr, /^memory +peak .* of a budget of 512 MiB$/m);
  });

  it('gives programs what they rely on', async () => {
    const found = await runCliJson<Evaluated>(args);
    const keys = ['tokens', 'nll', 'perplexity', 'top1Agreement', 'predictor', 'stats'];
    assert.deepEqual(Object.keys(found).sort(), [...keys].sort());
    assert.equal(found.top1Agreement, 1);
    assert.equal(found.predictor, null);
    assert.ok(Math.abs(Math.exp(found.nll) - found.perplexity) < 1e-9);
  });

  it('scores the same whatever the window is cut into, but for what a cut hides', async () => {
    const [narrow, wide] = await Promise.all(
      ['32', '512'].map((context) => runCliJson<Evaluated>([...args, '--context', context])),
    );
    assert.equal(narrow!.tokens, wide!.tokens);
    assert.ok(narrow!.nll > wide!.nll, 'a shorter context tells more');
  });

  it('loses little with keys and values in f16', async () => {
    const [exact, halved] = await Promise.all([
      runCliJson<Evaluated>(args),
      runCliJson<Evaluated>([...args, '--kv-dtype', 'f16']),
    ]);
    const change = Math.abs(halved.nll - exact.nll);
    assert.ok(change > 0 && change < 1e-3, `nll ${halved.nll} instead of ${exact.nll}`);
  });

  it('stops when it is interrupted', async () => {
    const { child, finished } = startCli(['eval', model, '--data', validText]);
    // The budget is the first thing it tells; the text takes much longer than a second.
    child.stderr?.once('data', () => setTimeout(() => child.kill('SIGINT'), 1000));
    const { code, stdout, stderr } = await finished;
    assert.equal(code, 130, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^interrupted$/m);
  });
});
