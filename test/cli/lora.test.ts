/** Adapters and activations on the command line. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { adapterConfig, changeAdapterConfig, copyAdapter } from '../support/adapter.ts';
import { assertRefused, assertWrongUsage, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { fixture, loraFixture } from '../support/fixtures.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const llama = fixture('families/llama');
const both = ['--lora', loraFixture('patterns'), '--lora', loraFixture('second')];

interface Report {
  readonly architecture: {
    readonly ffn: { readonly activation: string; readonly threshold: number };
    readonly tiedHead: boolean;
  };
  readonly adapters: readonly { readonly base: string; readonly updates: number }[];
  readonly activation: { readonly from: string; readonly to: string } | null;
}

const configOf = (model: string) =>
  JSON.parse(readFileSync(join(model, 'config.json'), 'utf8')) as Record<string, unknown>;

/** A copy of an adapter that asks for an activation. */
function asking(flashllm: Record<string, unknown>): string {
  return changeAdapterConfig(copyAdapter('second', root.directory()), { flashllm });
}

describe('convert --lora', { concurrency: 2 }, () => {
  it('says what is merged, and into what it fits', async () => {
    const model = join(root.directory(), 'model');
    const { stderr } = await runCliWell(['convert', llama, model, ...both]);
    const lines = stderr.split('\n');
    const [one, other] = both.filter((word) => word !== '--lora');
    assert.ok(
      lines.includes(
        `adapter ${one}, made for tiny/llama: updates of rank 1 to 5 for 10 matrices, 5 whole tensors`,
      ),
      stderr,
    );
    assert.ok(
      lines.includes(`adapter ${other}, made for tiny/llama: updates of rank 2 for 3 matrices`),
      stderr,
    );
    assert.equal(configOf(model).hidden_act, 'silu');
    const generate = ['generate', model, '--prompt', 'a', '--ignore-eos', '--max-tokens', '8'];
    const { tokens } = await runCliJson<{ tokens: number[] }>(generate);
    assert.equal(tokens.length, 8);
  });

  it('--dry-run checks adapters as well, and writes nothing', async () => {
    const parent = root.directory();
    const model = join(parent, 'model');
    const report = await runCliJson<Report>(['convert', llama, model, ...both, '--dry-run']);
    assert.deepEqual(
      report.adapters.map(({ updates }) => updates),
      [10, 3],
    );
    const args = ['convert', fixture('families/phi'), model, ...both, '--dry-run'];
    assertRefused(await runCli(args), ['tensors that the checkpoint does not have', 'tiny/llama']);
    assertEntries(parent, []);
  });

  it('a head that was trained apart is no longer tied', async () => {
    const model = join(root.directory(), 'model');
    const args = ['convert', fixture('families/qwen2'), model, '--lora', loraFixture('untied')];
    const { architecture } = await runCliJson<Report>(args);
    assert.equal(architecture.tiedHead, false);
    assert.equal(configOf(model).tie_word_embeddings, false);
  });

  it('inspect and plan tell of the model that it would become', async () => {
    const flags = [llama, '--lora', asking({ hidden_act: 'relu' })];
    const { architecture, adapters } = await runCliJson<Report>(['inspect', ...flags]);
    assert.equal(architecture.ffn.activation, 'relu');
    assert.equal(adapters.length, 1);
    const { stderr } = await runCliWell(['plan', ...flags]);
    assert.match(stderr, /^activation relu instead of silu, as .* asks$/m);
  });

  it('an adapter is no checkpoint of its own', async () => {
    const args = ['convert', loraFixture('second'), join(root.directory(), 'model')];
    assertRefused(await runCli(args), ['no config.json', 'It holds an adapter', '--lora']);
  });

  it('is for checkpoints', async () => {
    const model = join(root.directory(), 'model');
    await runCliWell(['convert', llama, model]);
    for (const command of ['inspect', 'plan']) {
      assertRefused(await runCli([command, model, ...both]), [
        '--lora applies to checkpoints, but this is a converted model',
      ]);
    }
  });
});

describe('the activation', { concurrency: 2 }, () => {
  const convert = async (checkpoint: string, ...flags: string[]) => {
    const model = join(root.directory(), 'model');
    const report = await runCliJson<Report>(['convert', checkpoint, model, ...flags]);
    return { model, report, config: configOf(model) };
  };

  it('is what an adapter asks for, and what --hidden-act says before that', async () => {
    const lora = asking({ hidden_act: 'relu' });
    const asked = await convert(llama, '--lora', lora);
    assert.equal(asked.report.architecture.ffn.activation, 'relu');
    assert.equal(asked.config.hidden_act, 'relu');
    assert.deepEqual(asked.report.activation, { from: 'silu', to: 'relu', askedBy: lora });
    const { model } = asked;
    assert.equal(
      (await runCliJson<Report>(['inspect', model])).architecture.ffn.activation,
      'relu',
    );

    const decided = await convert(llama, '--lora', lora, '--hidden-act', 'silu');
    assert.equal(decided.report.architecture.ffn.activation, 'silu');
    assert.equal(decided.config.hidden_act, 'silu');
  });

  it('comes with its threshold', async () => {
    const lora = asking({ hidden_act: 'fatrelu', hidden_act_param: 0.25 });
    const { report, config } = await convert(llama, '--lora', lora);
    const { activation, threshold } = report.architecture.ffn;
    assert.deepEqual({ activation, threshold }, { activation: 'fatrelu', threshold: 0.25 });
    assert.equal(config.hidden_act_param, 0.25);
  });

  it('is told to each family by the name it has for it', async () => {
    const opt = await convert(fixture('opt-variants/gelu'), '--hidden-act', 'relu');
    assert.equal(opt.report.architecture.ffn.activation, 'relu');
    assert.equal(opt.config.activation_function, 'relu');
    assert.ok(!('hidden_act' in opt.config));
    const falcon = await convert(fixture('families/falcon-40b-gelu'), '--hidden-act', 'relu');
    assert.equal(falcon.report.architecture.ffn.activation, 'relu');
    assert.equal(falcon.config.activation, 'relu');
    const gguf = await convert(fixture('gguf/llama/model.gguf'), '--hidden-act', 'relu');
    assert.equal(gguf.report.architecture.ffn.activation, 'relu');
    assert.equal(gguf.config.hidden_act, 'relu');
  });

  it('must be one that is computed', async () => {
    const args = ['convert', llama, join(root.directory(), 'model'), '--hidden-act', 'mish'];
    assertWrongUsage(await runCli(args), ["argument 'mish' is invalid", 'relu']);
    const lora = asking({ hidden_act: 'mish' });
    const asked = await runCli(['convert', llama, join(root.directory(), 'm'), '--lora', lora]);
    assertRefused(asked, [join(lora, adapterConfig), '"mish" is not supported']);
  });
});
