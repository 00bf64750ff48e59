/** Quantised models, from conversion to the loss they cause. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { runCliJson, runCliWell } from '../support/cli.ts';
import { storiesOpt, validText } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const text = join(root.path, 'text.txt');
before(() => {
  writeFileSync(text, readFileSync(validText, 'utf8').slice(0, 12_000));
});

async function nll(...flags: string[]): Promise<number> {
  const model = await convert(storiesOpt, join(root.directory(), 'model'), ...flags);
  await runCliWell(['inspect', model, '--verify']);
  const args = ['eval', model, '--exact', '--data', text, '--context', '256'];
  return (await runCliJson<{ nll: number }>(args)).nll;
}

test('8 bits cost next to nothing, 4 bits a little, and most of that in the attention', async () => {
  const exact = await nll();
  const q8 = await nll('--dtype', 'q8');
  const q4 = await nll('--dtype', 'q4');
  const mixed = await nll('--dtype', 'f16', '--ffn-dtype', 'q4');
  assert.ok(Math.abs(q8 - exact) < 0.003, `q8: ${q8 - exact}`);
  assert.ok(Math.abs(mixed - exact) < 0.05, `f16 with q4 FFN: ${mixed - exact}`);
  assert.ok(Math.abs(q4 - exact) < 0.12, `q4: ${q4 - exact}`);
  assert.ok(Math.abs(q8 - exact) > 1e-7, 'q8 is not f16 under another name');
});

test('a quantised model streams to the same tokens as it gives resident', async () => {
  const model = await convert(storiesOpt, join(root.directory(), 'model'), '--dtype', 'q8');
  const run = (budget: string) =>
    runCliJson<{ tokens: number[]; stats: { flashBytes: number } }>([
      ...['generate', model, '--exact', '--temperature', '0', '--max-tokens', '60'],
      ...['--prompt', 'Once upon a time', '--threads', '1', '--dram-budget', budget],
    ]);
  const whole = await run('512MiB');
  const { floor } = await runCliJson<{ floor: number }>([
    ...['plan', model, '--context', '64', '--threads', '1', '--dram-budget', '512MiB'],
  ]);
  const streamed = await run(String(floor));
  assert.deepEqual(streamed.tokens, whole.tokens);
  assert.ok(streamed.stats.flashBytes > 5 * whole.stats.flashBytes);
});
