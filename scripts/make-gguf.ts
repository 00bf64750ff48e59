/**
 * Writes a GGUF of Llama geometry with random f16 weights, to measure llama.cpp beside flashllm on
 * as many weight bytes. Its vocabulary is made up: it can be run, not read.
 *
 *   node --import tsx scripts/make-gguf.ts <file> [hidden layers heads ffn vocab]
 */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { f32, text, u32, u64 } from '../test/support/gguf.ts';
import { randomHalfs } from './checkpoint/random-halfs.ts';

const [file = '', ...numbers] = process.argv.slice(2);
// By default the bytes that a token of OPT 1.3B uses: 1.3 G weights.
const [hidden = 2048, layers = 24, heads = 32, ffn = 5632, vocab = 32000] = numbers.map(Number);
if (file === '') {
  process.stderr.write('usage: make-gguf.ts <file> [hidden layers heads ffn vocab]\n');
  process.exit(2);
}

/** GGUF's codes. */
const type = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 } as const;
const tensorType = { f32: 0, f16: 1 } as const;
const alignment = 32;

const array = (code: number, items: readonly Buffer[]) =>
  Buffer.concat([u32(code), u64(items.length), ...items]);

const tokens = Array.from({ length: vocab }, (_, id) => {
  if (id < 3) return ['<unk>', '<s>', '</s>'][id] ?? '';
  if (id < 259) return `<0x${(id - 3).toString(16).toUpperCase().padStart(2, '0')}>`;
  return `token${id}`;
});
const kinds = tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1));
const metadata: [string, number, Buffer][] = [
  ['general.architecture', type.string, text('llama')],
  ['llama.block_count', type.u32, u32(layers)],
  ['llama.context_length', type.u32, u32(2048)],
  ['llama.embedding_length', type.u32, u32(hidden)],
  ['llama.feed_forward_length', type.u32, u32(ffn)],
  ['llama.attention.head_count', type.u32, u32(heads)],
  ['llama.attention.head_count_kv', type.u32, u32(heads)],
  ['llama.attention.layer_norm_rms_epsilon', type.f32, f32(1e-5)],
  ['llama.rope.dimension_count', type.u32, u32(hidden / heads)],
  ['llama.vocab_size', type.u32, u32(vocab)],
  ['general.file_type', type.u32, u32(1)],
  ['tokenizer.ggml.model', type.string, text('llama')],
  ['tokenizer.ggml.tokens', type.array, array(type.string, tokens.map(text))],
  [
    'tokenizer.ggml.scores',
    type.array,
    array(
      type.f32,
      tokens.map(() => f32(0)),
    ),
  ],
  ['tokenizer.ggml.token_type', type.array, array(type.i32, kinds.map(u32))],
  ['tokenizer.ggml.bos_token_id', type.u32, u32(1)],
  ['tokenizer.ggml.eos_token_id', type.u32, u32(2)],
];

/** Shapes as GGUF has them: columns first. Norms are f32 ones. */
const tensors: { name: string; shape: number[]; norm: boolean }[] = [];
const matrix = (name: string, rows: number, columns: number) =>
  tensors.push({ name, shape: [columns, rows], norm: false });
const norm = (name: string) => tensors.push({ name, shape: [hidden], norm: true });
matrix('token_embd.weight', vocab, hidden);
for (let layer = 0; layer < layers; layer++) {
  const at = `blk.${layer}`;
  norm(`${at}.attn_norm.weight`);
  for (const name of ['attn_q', 'attn_k', 'attn_v', 'attn_output']) {
    matrix(`${at}.${name}.weight`, hidden, hidden);
  }
  norm(`${at}.ffn_norm.weight`);
  matrix(`${at}.ffn_gate.weight`, ffn, hidden);
  matrix(`${at}.ffn_up.weight`, ffn, hidden);
  matrix(`${at}.ffn_down.weight`, hidden, ffn);
}
norm('output_norm.weight');
matrix('output.weight', vocab, hidden);

const bytesOf = ({ shape, norm }: (typeof tensors)[number]) =>
  shape.reduce((product, n) => product * n, 1) * (norm ? 4 : 2);
const padding = (bytes: number) => Buffer.alloc((alignment - (bytes % alignment)) % alignment);

let offset = 0;
const infos = tensors.map((tensor) => {
  const info = Buffer.concat([
    text(tensor.name),
    u32(tensor.shape.length),
    ...tensor.shape.map(u64),
    u32(tensor.norm ? tensorType.f32 : tensorType.f16),
    u64(offset),
  ]);
  offset += bytesOf(tensor) + padding(bytesOf(tensor)).length;
  return info;
});
const header = Buffer.concat([
  Buffer.from('GGUF'),
  u32(3),
  u64(tensors.length),
  u64(metadata.length),
  ...metadata.flatMap(([key, code, value]) => [text(key), u32(code), value]),
  ...infos,
]);

const out = createWriteStream(file, { highWaterMark: 16 * 1024 * 1024 });
const write = async (data: Uint8Array) => {
  if (!out.write(data)) await once(out, 'drain');
};
await write(header);
await write(padding(header.length));
const halfs = randomHalfs();
for (const tensor of tensors) {
  const bytes = bytesOf(tensor);
  if (tensor.norm) await write(Buffer.from(new Float32Array(bytes / 4).fill(1).buffer));
  else for (const part of halfs(bytes)) await write(part);
  await write(padding(bytes));
}
out.end();
await once(out, 'close');
process.stderr.write(`${file}: ${(offset / 1e9).toFixed(2)} GB\n`);
