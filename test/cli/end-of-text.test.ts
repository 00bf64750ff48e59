/** What ends a generated text: every token that ends one, unless asked otherwise, and `--stop`. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { changeConfig, copyStories } from '../support/checkpoint.ts';
import { runCliJson, runCliWell } from '../support/cli.ts';
import { references, storiesOpt } from '../support/fixtures.ts';
import { f32, f32Type, ggufBytes, value } from '../support/gguf.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface Generated {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finishReason: string;
}
interface Inspected {
  readonly endTokens: readonly { readonly id: number; readonly text: string }[];
}

const root = temporaryRoot();
const parallel = { concurrency: 2 };

function generate(model: string, ...flags: string[]): Promise<Generated> {
  return runCliJson(['generate', model, '--temperature', '0', '--dram-budget', '512MiB', ...flags]);
}

function edit(file: string, changes: object): void {
  const json = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...json, ...changes }));
}

/**
 * A Qwen2 whose metadata names `<|im_end|>`, id 2, as EOS. Its last norm is 0, so all logits are equal
 * and greedy decoding says id 0 for ever.
 * @param first what id 0 is called, and which kind of token it is
 */
function flatQwen(first: string, kind: number): Buffer {
  const bytes = Array.from({ length: 256 }, (_, byte) => byteLetter(byte));
  const tokens = [first, '<|im_start|>', '<|im_end|>', ...bytes];
  const kinds = tokens.map((_, id) => (id === 0 ? kind : id < 3 ? 3 : 1));
  const hidden = 32;
  const tensor = (name: string, of: number, ...sizes: number[]) => {
    const count = sizes.reduce((product, size) => product * size, 1);
    const data = Buffer.concat(Array.from({ length: count }, () => f32(of)));
    return { name, sizes, type: f32Type, data };
  };
  const block = (name: string, ...sizes: number[]) => tensor(`blk.0.${name}`, 0.01, ...sizes);
  return ggufBytes({
    metadata: [
      ['general.architecture', value.text('qwen2')],
      ['qwen2.context_length', value.u32(64)],
      ['qwen2.embedding_length', value.u32(hidden)],
      ['qwen2.block_count', value.u32(1)],
      ['qwen2.feed_forward_length', value.u32(hidden)],
      ['qwen2.attention.head_count', value.u32(2)],
      ['qwen2.attention.layer_norm_rms_epsilon', value.f32(1e-6)],
      ['qwen2.rope.freq_base', value.f32(10000)],
      ['tokenizer.ggml.model', value.text('gpt2')],
      ['tokenizer.ggml.pre', value.text('qwen2')],
      ['tokenizer.ggml.tokens', value.texts(tokens)],
      ['tokenizer.ggml.token_type', value.i32s(kinds)],
      ['tokenizer.ggml.merges', value.texts([])],
      ['tokenizer.ggml.eos_token_id', value.u32(2)],
    ],
    tensors: [
      tensor('token_embd.weight', 0.01, hidden, tokens.length),
      tensor('output_norm.weight', 0, hidden),
      ...['q', 'k', 'v'].flatMap((part) => [
        block(`attn_${part}.weight`, hidden, hidden),
        block(`attn_${part}.bias`, hidden),
      ]),
      block('attn_output.weight', hidden, hidden),
      ...['attn_norm.weight', 'ffn_norm.weight'].map((name) => block(name, hidden)),
      ...['ffn_gate', 'ffn_up', 'ffn_down'].map((name) => block(`${name}.weight`, hidden, hidden)),
    ],
  });
}

/** What stands for a byte in the vocabulary of a byte-level model. */
function byteLetter(byte: number): string {
  const printable = (b: number) => (b > 32 && b < 127) || (b > 160 && b !== 173 && b < 256);
  if (printable(byte)) return String.fromCharCode(byte);
  const before = Array.from({ length: byte }, (_, b) => b).filter((b) => !printable(b)).length;
  return String.fromCharCode(256 + before);
}

async function qwen(first: string, kind: number): Promise<string> {
  const dir = root.directory();
  const gguf = join(dir, 'model.gguf');
  writeFileSync(gguf, flatQwen(first, kind));
  return convert(gguf, join(dir, 'model'));
}

describe('a GGUF that names one of two tokens that end a text', parallel, () => {
  const few = ['--prompt', 'hi', '--max-tokens', '4'];
  let model = '';
  before(async () => {
    model = await qwen('<|endoftext|>', 3);
  });

  it('ends at the other as well', async () => {
    const { tokens, finishReason, text } = await generate(model, ...few);
    assert.deepEqual({ tokens, finishReason, text }, { tokens: [], finishReason: 'eos', text: '' });
  });

  it('tells so, before its conversion and behind it', async () => {
    const expected = [
      { id: 0, text: '<|endoftext|>' },
      { id: 2, text: '<|im_end|>' },
    ];
    for (const path of [model, join(model, '..', 'model.gguf')]) {
      const { endTokens } = await runCliJson<Inspected>(['inspect', path]);
      assert.deepEqual(endTokens, expected);
      const { stdout } = await runCliWell(['inspect', path]);
      assert.match(stdout, /^end tokens +"<\|endoftext\|>" \(0\), "<\|im_end\|>" \(2\)$/m);
    }
    const config = JSON.parse(readFileSync(join(model, 'generation_config.json'), 'utf8'));
    assert.deepEqual(config, { eos_token_id: [0, 2] });
  });

  it('goes on with --ignore-eos, up to --stop with the text of a token', async () => {
    const on = await generate(model, ...few, '--ignore-eos');
    assert.deepEqual(on.tokens, [0, 0, 0, 0]);
    assert.equal(on.text, '');
    assert.equal(on.finishReason, 'length');
    const stopped = await generate(model, ...few, '--ignore-eos', '--stop', '<|endoftext|>');
    assert.deepEqual(stopped.tokens, []);
    assert.equal(stopped.finishReason, 'stop');
    const other = await generate(model, ...few, '--ignore-eos', '--stop', '<|im_start|>');
    assert.equal(other.finishReason, 'length');
  });

  it('ends at a mark that was added and is not special, and not at a piece of that name', async () => {
    const [userDefined, normal] = await Promise.all([qwen('<|im_x|>', 4), qwen('<|end|>', 1)]);
    assert.equal((await generate(userDefined, ...few)).finishReason, 'length');
    const said = await generate(normal, ...few);
    assert.equal(said.text, '<|end|>'.repeat(4));
    const marked = await qwen('<|end|>', 4);
    assert.equal((await generate(marked, ...few)).finishReason, 'eos');
  });
});

describe('a checkpoint', parallel, () => {
  const { prompts } = JSON.parse(readFileSync(join(references, 'prompts.json'), 'utf8')) as {
    prompts: { text: string; greedy_ids: number[] }[];
  };
  const { text: prompt, greedy_ids: ids } = prompts.find((p) => p.greedy_ids[1] === 2)!;

  it('whose configuration names another token ends at </s>', async () => {
    const dir = copyStories(root.directory());
    changeConfig(dir, { eos_token_id: 7 });
    edit(join(dir, 'generation_config.json'), { eos_token_id: [7, -1, 99999] });
    edit(join(dir, 'tokenizer_config.json'), { eos_token: null });
    const model = await convert(dir, join(root.directory(), 'model'));
    const { tokens, finishReason } = await generate(model, '--prompt', prompt);
    assert.deepEqual(tokens, ids.slice(0, 1));
    assert.equal(finishReason, 'eos');
    const { endTokens } = await runCliJson<Inspected>(['inspect', model]);
    assert.deepEqual(
      endTokens.map(({ id }) => id),
      [2, 7],
    );
  });

  it('goes on with --ignore-eos as the reference does', async () => {
    const model = await convert(storiesOpt, join(root.directory(), 'model'));
    const flags = ['--prompt', prompt, '--max-tokens', `${ids.length}`, '--exact'];
    const { tokens, text, finishReason } = await generate(model, ...flags, '--ignore-eos');
    assert.deepEqual(tokens, ids);
    assert.equal(finishReason, 'length');
    assert.ok(!text.includes('</s>'));
    const stopped = await generate(model, ...flags, '--ignore-eos', '--stop', '</s>');
    assert.deepEqual(stopped.tokens, ids.slice(0, 1));
    assert.equal(stopped.finishReason, 'stop');
  });
});
