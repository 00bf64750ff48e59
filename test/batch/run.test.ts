/** A batch with an engine that answers by a rule: every line once, whatever happens. */

import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlashError, InterruptedError } from '../../src/errors.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { batchFiles, parseResults, RuleEngine, request, runOnce } from './support.ts';

const root = temporaryRoot();
const read = (path: string) => parseResults(readFileSync(path, 'utf8'));
const fresh = (lines: readonly string[]) => batchFiles(root.directory(), lines);

describe('a batch', () => {
  it('answers each line with what the engine makes of it', async () => {
    const files = fresh([request('a', 'abc'), '', request('b', 'xyz', { max_tokens: 2 })]);
    const counts = await runOnce(files);
    assert.deepEqual(counts, {
      ...{ answered: 2, errors: 0, promptTokens: 6, tokens: 5, underWay: 0 },
      ...{ before: 0, lines: 2 },
    });
    const results = new Map(read(files.output).map((result) => [result.custom_id, result]));
    assert.deepEqual(results.get('a')?.error, null);
    assert.equal(results.get('a')?.response?.status_code, 200);
    const body = results.get('b')?.response?.body as Record<string, unknown>;
    const { id, created, ...rest } = body;
    assert.match(String(id), /^cmpl-[0-9a-f]{24}$/);
    assert.ok(Math.abs(Number(created) - Date.now() / 1000) < 60);
    assert.deepEqual(rest, {
      object: 'text_completion',
      model: 'rule',
      system_fingerprint: 'fp_rule',
      choices: [{ text: 'zy', index: 0, logprobs: null, finish_reason: 'length' }],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    });
  });

  it('answers what it cannot use with an error, and goes on', async () => {
    const files = fresh([
      'rubbish',
      request('a', 'x'),
      request('a', 'y'),
      'rubbish',
      request('long', 'x'.repeat(101)),
      request('wide', 'x'.repeat(50), { max_tokens: 52 }),
      request('fits', 'x'.repeat(50), { max_tokens: 51 }),
      request('cursed', 'cursed'),
      request('empty', ''),
    ]);
    const counts = await runOnce(files, { parallel: 2 });
    assert.deepEqual([counts.answered, counts.errors], [9, 7]);
    const errors = read(files.output).flatMap(({ custom_id, response, error }) =>
      error === null ? [] : [[error.line, custom_id, error.code, response?.status_code ?? null]],
    );
    assert.deepEqual(
      errors.sort(([a], [b]) => Number(a) - Number(b)),
      [
        [1, null, 'invalid_json_line', null],
        [3, null, 'duplicate_custom_id', null],
        [4, null, 'invalid_json_line', null],
        [5, 'long', 'context_length_exceeded', 400],
        [6, 'wide', 'context_length_exceeded', 400],
        [8, 'cursed', 'invalid_prompt', 400],
        [9, 'empty', 'invalid_prompt', 400],
      ],
    );
    const said = (id: string) =>
      read(files.output).find(({ custom_id }) => custom_id === id)?.error?.message;
    const room = 'the context has 100 (--context may be up to 200)';
    assert.equal(said('long'), `the prompt has 101 tokens, ${room}. Shorten it`);
    assert.equal(
      said('wide'),
      `the prompt has 50 tokens and 'max_tokens' is 52: they need 101 positions, ${room}. ` +
        "Lower 'max_tokens' to 51",
    );
    // Answered is answered: nothing is left for another run.
    assert.deepEqual((await runOnce(files)).answered, 0);
  });

  it('works on as many lines at once as it may', async () => {
    const files = fresh(Array.from({ length: 20 }, (_, i) => request(`${i}`, 'abc')));
    for (const parallel of [1, 5]) {
      const engine = new RuleEngine(`fp_${parallel}`);
      engine.before = () => sleep(2);
      writeFileSync(files.output, '');
      await runOnce(files, { engine, parallel });
      assert.equal(engine.mostInFlight, parallel);
    }
  });

  it('samples a line without a seed in the same way in every run', async () => {
    const lines = ['a', 'b', 'c'].map((id) => request(id, 'abc'));
    const seeds = async (all: readonly string[]) => {
      const engine = new RuleEngine();
      await runOnce(fresh(all), { engine, parallel: 1 });
      return engine.calls.map(({ sampling }) => sampling.seed);
    };
    const once = await seeds(lines);
    assert.equal(new Set(once).size, 3);
    assert.deepEqual(await seeds([...lines].reverse()), [...once].reverse());
    assert.deepEqual(await seeds([request('a', 'abc', { seed: 7 })]), [7]);
  });

  it('ends when the engine fails, with the other lines broken off and none lost', async () => {
    const files = fresh(Array.from({ length: 12 }, (_, i) => request(`${i}`, `prompt ${i}`)));
    const engine = new RuleEngine();
    const failure = new FlashError('the device is gone');
    engine.before = async ({ signal }) => {
      if (engine.calls.length === 6) throw failure;
      await sleep(engine.calls.length < 6 ? 0 : 5);
      if (signal.aborted) throw new InterruptedError();
    };
    await assert.rejects(runOnce(files, { engine }), failure);
    assert.equal(engine.inFlight, 0);
    const { before, answered } = await runOnce(files);
    assert.ok(before >= 3 && before < 12, `${before} before`);
    assert.equal(before + answered, 12);
    assert.equal(new Set(read(files.output).map(({ custom_id }) => custom_id)).size, 12);
  });

  it('ends at a signal with what is finished', async () => {
    const files = fresh(Array.from({ length: 12 }, (_, i) => request(`${i}`, `prompt ${i}`)));
    const stop = new AbortController();
    const engine = new RuleEngine();
    engine.before = async ({ signal }) => {
      if (engine.calls.length === 6) stop.abort();
      if (signal.aborted) throw new InterruptedError();
    };
    const { answered } = await runOnce(files, { engine, signal: stop.signal });
    assert.ok(answered > 0 && answered < 12, `${answered} answered`);
    assert.equal(read(files.output).length, answered);
    assert.equal((await runOnce(files)).answered, 12 - answered);
  });

  it('says so when the input is changed meanwhile', async () => {
    const lines = [request('a', 'x'), request('b', 'y'), request('c', 'z')];
    const changes: readonly (readonly string[])[] = [
      [lines[0] ?? '', lines[1] ?? '', request('c', 'w')],
      [lines[0] ?? '', lines[1] ?? '', request('d', 'z')],
      [lines[0] ?? '', lines[1] ?? '', ' '.repeat((lines[2] ?? '').length)],
    ];
    for (const changed of changes) {
      const files = fresh(lines);
      const between = () => writeFileSync(files.input, changed.map((line) => `${line}\n`).join(''));
      await assert.rejects(runOnce(files, { between }), /was changed while the batch ran/);
    }
    const files = fresh(lines);
    const between = () => appendFileSync(files.input, `${request('d', 'v')}\n`);
    assert.equal((await runOnce(files, { between })).answered, 3);
    assert.equal((await runOnce(files)).answered, 1);
  });
});
