/** Adapters on embedding and head, where the checkpoint stores one of them, or both, otherwise than it says. */

import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import { inspectCheckpoint } from '../../src/convert/inspect-checkpoint.ts';
import { openCheckpoint } from '../../src/convert/open-checkpoint.ts';
import {
  changeAdapterConfig,
  changeAdapterTensors,
  copyAdapter,
  openAdapted,
  zeros,
} from '../support/adapter.ts';
import { tensorToF32 } from '../support/dtypes.ts';
import { fixture, loraFixture } from '../support/fixtures.ts';
import { readSafetensors, type Tensors } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { readTensor, refusal, tensorOf } from './helpers.ts';

const root = temporaryRoot();
const wrapper = 'base_model.model.';
const shape = [112, 32];

/** A copy of `second`, of its rank 2 and scale 2, that changes something else instead. */
function changing(config: Record<string, unknown>, change: (tensors: Tensors) => void): string {
  const dir = changeAdapterConfig(copyAdapter('second', root.directory()), config);
  return changeAdapterTensors(dir, (tensors) => {
    tensors.clear();
    change(tensors);
  });
}

/** Adds 2 to the first value of the head. */
function headUpdate(): string {
  return changing({ target_modules: ['lm_head'], layers_to_transform: null }, (tensors) => {
    const [a, b] = [zeros(2, 32), zeros(112, 2)];
    for (const { data } of [a, b]) data.writeFloatLE(1, 0);
    tensors.set(`${wrapper}lm_head.lora_A.weight`, a);
    tensors.set(`${wrapper}lm_head.lora_B.weight`, b);
  });
}

/** Values of a tensor in f32. */
async function valuesOf(
  { source }: Awaited<ReturnType<typeof openCheckpoint>>,
  name: string,
): Promise<readonly number[]> {
  const tensor = tensorOf(source, name);
  const data = await readTensor(tensor);
  const bytes = tensor.dtype === 'f16' ? tensorToF32({ dtype: 'F16', shape, data }).data : data;
  return [...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)];
}

/** Embedding and head of a checkpoint of llama before and after it is adapted. */
async function tablesOf(name: string, lora: string) {
  const [plain, adapted] = await Promise.all([
    openCheckpoint(fixture(`families/${name}`)),
    openAdapted(fixture(`families/${name}`), { lora: [lora] }),
  ]);
  try {
    const embeddingName = 'model.embed_tokens.weight';
    const head = await valuesOf(plain, 'lm_head.weight');
    const has = plain.source.tensors.has(embeddingName);
    return {
      before: { embedding: has ? await valuesOf(plain, embeddingName) : head, head },
      after: {
        embedding: await valuesOf(adapted, embeddingName),
        head: await valuesOf(adapted, 'lm_head.weight'),
      },
    };
  } finally {
    await Promise.all([plain, adapted].map(({ source }) => source.close()));
  }
}

const raised = ([first = 0, ...rest]: readonly number[]) => [Math.fround(first + 2), ...rest];

describe('adapters on the head', { concurrency: 1 }, () => {
  it('of a checkpoint with another head than its configuration says change that alone', async () => {
    const { before, after } = await tablesOf('llama-two-heads', headUpdate());
    assert.notDeepEqual(before.head, before.embedding);
    assert.deepEqual(after.head, raised(before.head));
    assert.deepEqual(after.embedding, before.embedding);
  });

  it('of a checkpoint that stores the embedding as the head change both', async () => {
    const { before, after } = await tablesOf('llama-head-alone', headUpdate());
    assert.deepEqual(after.head, raised(before.head));
    assert.deepEqual(after.embedding, after.head);
  });

  it('part it from the embedding that is stored as the head', async () => {
    const lora = changing(
      { target_modules: null, modules_to_save: ['embed_tokens'] },
      (tensors) => {
        tensors.set(`${wrapper}model.embed_tokens.weight`, zeros(112, 32));
      },
    );
    const { before, after } = await tablesOf('llama-head-alone', lora);
    assert.deepEqual(after.head, before.head);
    assert.ok(after.embedding.every((value) => value === 0));
    const { spec, problems } = await inspectCheckpoint(fixture('families/llama-head-alone'), {
      lora: [lora],
    });
    assert.deepEqual(problems, []);
    assert.equal(spec.tiedHead, false);
  });
});

describe('an examination', { concurrency: 1 }, () => {
  it('counts an adapter that does not fit to what keeps a checkpoint from being converted', async () => {
    const says = /the adapter changes tensors that the checkpoint does not have/;
    const asked = { lora: [loraFixture('second')] };
    const checkpoint = fixture('families/phi');
    const { problems, adapters, formats } = await inspectCheckpoint(checkpoint, asked);
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? '', says);
    assert.deepEqual(adapters, []);
    assert.deepEqual(formats, (await inspectCheckpoint(checkpoint)).formats);
    const output = join(root.directory(), 'model');
    await assert.rejects(convertCheckpoint({ checkpoint, output, ...asked }), refusal(says));
  });

  it('names what is wrong with the checkpoint before what is wrong with an adapter', async () => {
    const missing = { lora: [join(root.directory(), 'none')] };
    const checkpoint = root.directory();
    cpSync(fixture('families/llama/config.json'), join(checkpoint, 'config.json'));
    const { problems } = await inspectCheckpoint(checkpoint, missing);
    assert.match(problems[0] ?? '', /no weights in this directory/);
    assert.match(problems[1] ?? '', /no such directory/);
  });

  it('asks for an activation in the place of one that is not computed', async () => {
    const checkpoint = root.directory();
    cpSync(fixture('families/llama'), checkpoint, { recursive: true });
    const file = join(checkpoint, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    writeFileSync(file, JSON.stringify({ ...config, hidden_act: 'mish' }));
    await assert.rejects(inspectCheckpoint(checkpoint), refusal(/'mish' is not supported/));
    const { spec, problems, activation } = await inspectCheckpoint(checkpoint, {
      hiddenAct: 'relu',
    });
    assert.deepEqual(problems, []);
    assert.equal(spec.ffn.activation, 'relu');
    assert.deepEqual(activation, { from: 'mish', to: 'relu', askedBy: null });
  });

  it('finds copies of a tensor the same, whatever is merged into it', async () => {
    const checkpoint = root.directory();
    cpSync(fixture('families/llama'), checkpoint, { recursive: true });
    const weights = join(checkpoint, 'model.safetensors');
    const shards = ['one.safetensors', 'other.safetensors'];
    for (const shard of shards) cpSync(weights, join(checkpoint, shard));
    const map = [...readSafetensors(weights).keys()].map((name, at) => [name, shards[at % 2]]);
    const index = JSON.stringify({ weight_map: Object.fromEntries(map) });
    writeFileSync(`${weights}.index.json`, index);
    rmSync(weights);
    const { problems } = await inspectCheckpoint(checkpoint, { lora: [loraFixture('second')] });
    assert.deepEqual(problems, []);
  });
});
