/** The tokens and the perplexity of an independent implementation, through the command line. */

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { copyStories, weightsFile, writeShards } from '../support/checkpoint.ts';
import { runCliJson } from '../support/cli.ts';
import { tensorToBf16 } from '../support/dtypes.ts';
import { references, storiesOpt, storiesOptBin, validText } from '../support/fixtures.ts';
import { convert, runAtFloor } from '../support/model.ts';
import { readSafetensors } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface ReferencePrompt {
  readonly text: string;
  /** BOS first. */
  readonly ids: readonly number[];
  /** What greedy decoding adds; it went on beyond EOS in some. */
  readonly greedy_ids: readonly number[];
}

interface Generated {
  readonly promptTokens: readonly number[];
  readonly tokens: readonly number[];
  readonly finishReason: string;
  readonly stats: {
    readonly dramBudget: number;
    readonly flashBytes: number;
    readonly cacheHitRate: number;
  };
}

const root = temporaryRoot();
const eos = 2;
const maxTokens = 64;

const prompts = read<{ prompts: ReferencePrompt[] }>('prompts.json').prompts;
const promptsBf16 = read<{ prompts: ReferencePrompt[] }>('prompts-bf16.json').prompts;

function read<T>(name: string): T {
  return JSON.parse(readFileSync(join(references, name), 'utf8')) as T;
}

function generateArgs(model: string, prompt: string): string[] {
  const flags = ['--exact', '--temperature', '0', '--max-tokens', String(maxTokens)];
  return ['generate', model, '--prompt', prompt, ...flags];
}

function generate(model: string, prompt: string, dramBudget = '512MiB'): Promise<Generated> {
  return runCliJson<Generated>([...generateArgs(model, prompt), '--dram-budget', dramBudget]);
}

function assertAsReference(generated: Generated, prompt: ReferencePrompt): void {
  assert.deepEqual(generated.promptTokens, prompt.ids);
  const end = prompt.greedy_ids.indexOf(eos);
  assert.deepEqual(generated.tokens, prompt.greedy_ids.slice(0, end < 0 ? maxTokens : end));
  assert.equal(generated.finishReason, end < 0 ? 'length' : 'eos');
}

/** The fixture rounded to bfloat16, in three shards. */
function writeBf16Shards(dir: string): string {
  mkdirSync(dir);
  copyStories(dir);
  const tensors = readSafetensors(join(dir, weightsFile));
  rmSync(join(dir, weightsFile));
  writeShards(dir, new Map([...tensors].map(([name, t]) => [name, tensorToBf16(t)])), 3);
  return dir;
}

describe('the reference', { concurrency: availableParallelism() }, () => {
  it('is met by the perplexity of the validation text', async () => {
    const model = await convert(storiesOpt, join(root.path, 'perplexity'));
    const flags = ['--exact', '--context', '256', '--dram-budget', '512MiB'];
    const found = await runCliJson<{ tokens: number; nll: number; perplexity: number }>([
      ...['eval', model, '--data', validText],
      ...flags,
    ]);
    const { valid } = read<{ valid: typeof found }>('perplexity.json');
    assert.equal(found.tokens, valid.tokens);
    assert.ok(Math.abs(found.nll - valid.nll) < 1e-4, `nll ${found.nll}, not ${valid.nll}`);
    assert.ok(Math.abs(found.perplexity / valid.perplexity - 1) < 1e-4);
  });

  it('is met by every prompt from safetensors', async () => {
    const model = await convert(storiesOpt, join(root.path, 'safetensors'));
    for (const prompt of prompts) {
      assertAsReference(await generate(model, prompt.text), prompt);
    }
  });

  it('is met by every prompt from a pickle with the files of a BPE tokenizer', async () => {
    const model = await convert(storiesOptBin, join(root.path, 'pickle'));
    for (const prompt of prompts) {
      assertAsReference(await generate(model, prompt.text), prompt);
    }
  });

  it('is met by every prompt from bfloat16 shards', async () => {
    const model = await convert(
      writeBf16Shards(join(root.path, 'shards')),
      join(root.path, 'bf16'),
    );
    for (const prompt of promptsBf16) {
      assertAsReference(await generate(model, prompt.text), prompt);
    }
  });

  it('is met at every budget, from the floor to everything in memory', async () => {
    // As float32 the weights are the same and twice as large.
    const model = await convert(storiesOpt, join(root.path, 'budgets'), '--dtype', 'f32');
    const prompt = prompts.find(({ ids }) => ids.length === 200)!;
    const { stdout } = await runAtFloor([...generateArgs(model, prompt.text), '--json']);
    const least = JSON.parse(stdout) as Generated;
    const runs = await Promise.all(
      [1, 2, 3, 4, 8, 256].map((more) => {
        const bytes = least.stats.dramBudget + more * 2 ** 20;
        return generate(model, prompt.text, String(bytes));
      }),
    );
    for (const run of [least, ...runs]) assertAsReference(run, prompt);
    const most = runs.at(-1)!;
    assert.ok(least.stats.cacheHitRate < 1, 'at the floor nothing was streamed');
    assert.equal(most.stats.cacheHitRate, 1);
    assert.ok(least.stats.flashBytes > 2 * most.stats.flashBytes);
  });
});
