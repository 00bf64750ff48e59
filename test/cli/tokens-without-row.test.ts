/** A tokenizer with more tokens than the embedding has rows: only texts with such a token are refused. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { changeConfig, changeTensors, copyStories } from '../support/checkpoint.ts';
import { assertRefused, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import type { Tensor } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const budget = ['--dram-budget', '512MiB'];

/** The bundled checkpoint as fine-tuning leaves it: its tokenizer has one token more. */
function withExtraToken(dir: string): string {
  const file = join(copyStories(dir), 'tokenizer.json');
  const json = JSON.parse(readFileSync(file, 'utf8')) as { added_tokens: object[] };
  const like = json.added_tokens.at(-1);
  json.added_tokens.push({ ...like, id: 2048, content: '<extra>' });
  writeFileSync(file, JSON.stringify(json));
  return dir;
}

describe('a tokenizer with an added token that has no row', { concurrency: 2 }, () => {
  const checkpoint = withExtraToken(root.directory());
  const model = join(root.path, 'model');
  const said =
    'the tokenizer has 2049 tokens, the model\'s embedding 2048 rows: a text with "<extra>" (id 2048) will be refused';
  const refusal = ['token id 2048 ("<extra>") is out of range (0 to 2047)', '2048 rows'];
  before(() => convert(checkpoint, model));

  it('is said in a line, and nothing more', async () => {
    const { stderr } = await runCliWell(['convert', checkpoint, join(root.directory(), 'model')]);
    assert.ok(stderr.split('\n').includes(said), stderr);
    const report = await runCliJson<{ runs: boolean; notes: string[] }>(['inspect', checkpoint]);
    assert.equal(report.runs, true);
    assert.deepEqual(report.notes, [said]);
    const { stdout } = await runCliWell(['inspect', checkpoint]);
    assert.ok(stdout.includes(said));
  });

  it('generates what the model without it generates', async () => {
    const whole = await convert(storiesOpt, join(root.directory(), 'model'));
    const text = async (dir: string) => {
      const args = ['generate', dir, '--prompt', 'Once upon a time', ...budget];
      return (await runCliWell([...args, '--temperature', '0', '--max-tokens', '12'])).stdout;
    };
    assert.equal(await text(model), await text(whole));
  });

  it('refuses texts that hold it, whatever they are for', async () => {
    const prompt = ['--prompt', 'Once <extra>', ...budget];
    const data = join(root.directory(), 'data.txt');
    const filler = 'Once upon a time there was a cat. '.repeat(200);
    writeFileSync(data, `${filler}\n<|endoftext|>\n${filler}<extra>\n`);
    for (const args of [
      ['generate', model, ...prompt],
      ['bench', model, ...prompt, '--prompt-tokens', '8', '--max-tokens', '4', '--rows', 'naive'],
      ['predict-train', model, '--data', data, ...budget],
    ]) {
      assertRefused(await runCli(args), refusal);
    }
    // A document before it has been scored meanwhile, so progress may have been shown.
    const evaluated = await runCli(['eval', model, '--data', data, '--context', '128', ...budget]);
    assert.equal(evaluated.code, 2);
    for (const part of refusal) assert.ok(evaluated.stderr.includes(part), evaluated.stderr);
  });
});

describe('a tokenizer whose ordinary words have no rows', () => {
  it('converts, and is said to be that of another model perhaps', async () => {
    const dir = changeConfig(copyStories(root.directory()), { vocab_size: 2000 });
    changeTensors(dir, (tensors) => {
      const name = 'model.decoder.embed_tokens.weight';
      const { dtype, data } = tensors.get(name) as Tensor;
      tensors.set(name, { dtype, shape: [2000, 128], data: data.subarray(0, 2000 * 256) });
    });
    const model = join(root.directory(), 'model');
    const { stderr } = await runCliWell(['convert', dir, model]);
    assert.match(
      stderr,
      /^the tokenizer has 2048 tokens, the model's embedding 2000 rows: a text with one of 48, "[^"]+" \(id 2000\) the first, will be refused; the tokenizer may belong to another model$/m,
    );
    const { stdout } = await runCliWell(['generate', model, '--prompt', 'Once', ...budget]);
    assert.ok(stdout.length > 0);
  });
});

describe('a tokenizer that puts a token without a row beside every text', () => {
  for (const [side, single] of Object.entries({
    before: ['<extra>', 'A'],
    after: ['A', '<extra>'],
  })) {
    it(`is refused before anything is converted: ${side}`, async () => {
      const checkpoint = withExtraToken(root.directory());
      const file = join(checkpoint, 'tokenizer.json');
      const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
      json.post_processor = processor(single);
      writeFileSync(file, JSON.stringify(json));
      const refusal = ['tokenizer.json', 'token id 2048 ("<extra>") is out of range (0 to 2047)'];
      assertRefused(await runCli(['convert', checkpoint, join(root.directory(), 'm')]), refusal);
      const report = await runCliJson<{ runs: boolean; problems: string[] }>([
        'inspect',
        checkpoint,
      ]);
      assert.equal(report.runs, false);
      assert.match(report.problems.join(), /token id 2048 .* adds it to every text/);
    });
  }
});

/** Puts <extra> where `single` has it, and the text where it has A. */
function processor(single: readonly string[]): object {
  const part = (id: string) => ({ [id === 'A' ? 'Sequence' : 'SpecialToken']: { id, type_id: 0 } });
  return {
    type: 'TemplateProcessing',
    single: single.map(part),
    pair: ['A', 'B'].map((id) => ({ Sequence: { id, type_id: 0 } })),
    special_tokens: { '<extra>': { id: '<extra>', ids: [2048], tokens: ['<extra>'] } },
  };
}
