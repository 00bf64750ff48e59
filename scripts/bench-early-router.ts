/**
 * What it gains to start reading experts before attention, for routers that read a layer's input. A model with
 * layers of SmallThinker-21B-A3B's widths, random weights and 12 of the 64 experts generates with the router
 * before attention and with the same router after attention, alternating. No expert stays in DRAM, so that all
 * of a token's experts are read, as many as with 64: reads then have the most time to hide.
 *
 *     UV_THREADPOOL_SIZE=8 node --import tsx scripts/bench-early-router.ts [directory for the model] [rounds] [context] [layers]
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertCheckpoint } from '../src/convert/convert.ts';
import { MixtureFfn } from '../src/engine/mixture-ffn.ts';
import { Model } from '../src/engine/model.ts';
import { Runtime } from '../src/engine/runtime.ts';
import { processEstimate } from '../src/plan/process.ts';
import { MIB } from '../src/units.ts';
import { Dice } from '../test/support/random.ts';
import { writeRandomModel } from '../test/support/random-model.ts';

const [parent = tmpdir(), rounds = '5', prompt = '512', layers = '2'] = process.argv.slice(2);
const dir = mkdtempSync(join(parent, 'bench-early-router-'));
const [length, tokens] = [Number(prompt), 24];
const vocabulary = 2000;

const { beginEarly } = MixtureFfn.prototype;
type Input = Parameters<typeof beginEarly>[0];

/** Runs routers before attention, or after attention on the input that they would have had before it. */
function askLate(late: boolean): void {
  if (!late) {
    MixtureFfn.prototype.beginEarly = beginEarly;
    return;
  }
  MixtureFfn.prototype.beginEarly = async function (this: MixtureFfn, input: Input) {
    return {
      // Attention has been added by now: the choice is another one, of as many experts.
      finish: async (output) => {
        const begun = await beginEarly.call(this, input);
        if (begun === null) throw new Error('a layer has no experts');
        return begun.finish(output);
      },
      abandon: async () => {},
    };
  };
}

try {
  const checkpoint = mkdtempSync(join(dir, 'checkpoint-'));
  writeRandomModel(checkpoint, {
    model_type: 'smallthinker',
    vocab_size: vocabulary,
    hidden_size: 2560,
    num_hidden_layers: Number(layers),
    num_attention_heads: 28,
    num_key_value_heads: 4,
    head_dim: 128,
    moe_num_primary_experts: 12,
    moe_num_active_primary_experts: 6,
    moe_ffn_hidden_size: 768,
    tie_word_embeddings: true,
    max_position_embeddings: 4096,
  });
  const path = join(dir, 'model');
  await convertCheckpoint({ checkpoint, output: path, dtype: 'q4', dramBudget: 2048 * MIB });
  rmSync(checkpoint, { recursive: true });

  const model = await Model.open(path);
  const budget = processEstimate(model.manifest) + 400 * MIB;
  const request = { budget, context: length + tokens, residency: 'attention', threads: 2 } as const;
  const runtime = await Runtime.open(model, request);
  const sequence = runtime.sequence();
  const dice = new Dice(3);
  const ids = Array.from({ length }, () => dice.between(3, vocabulary));
  await sequence.forward(ids);
  const rates: Record<'before' | 'behind', number[]> = { before: [], behind: [] };
  for (let round = 0; round < 2 * Number(rounds); round++) {
    const when = round % 2 === 1 ? 'behind' : 'before';
    const next = new Dice(round >> 1); // the same tokens both ways
    askLate(when === 'behind');
    sequence.rewind(length);
    const run = runtime.stats.begin();
    for (let i = 0; i < tokens; i++) {
      await run.decode(() => sequence.forward([next.between(3, vocabulary)]));
    }
    const { decodeMs, ioMs, flashBytes, ffnSparsity } = run.snapshot(0, tokens);
    const rate = (tokens * 1000) / decodeMs;
    rates[when].push(rate);
    process.stdout.write(
      `${when} attention: ${rate.toFixed(2)} tokens/s, ${(ioMs / tokens).toFixed(1)} ms of waiting and ` +
        `${(flashBytes / tokens / MIB).toFixed(1)} MiB per token, ${(100 * ffnSparsity).toFixed(1)}% of neurons at rest\n`,
    );
  }
  const ratios = rates.before.map((rate, i) => rate / (rates.behind[i] ?? Number.NaN));
  const median = [...ratios].sort((a, b) => a - b)[ratios.length >> 1] ?? 0;
  process.stdout.write(`experts asked for before attention: ${median.toFixed(2)} times as fast\n`);
  await runtime.close();
  model.close();
} finally {
  rmSync(dir, { recursive: true, force: true });
}
