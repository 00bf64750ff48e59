/**
 * Writes a GGUF of Llama geometry with random f16 weights, to compare llama.cpp with flashllm on the
 * same number of weight bytes. Its vocabulary is synthetic: the model runs, but its text means nothing.
 *
 *   node --import tsx scripts/make-gguf.ts <file> [hidden layers heads ffn vocab]
 */

import { value } from '../test/support/gguf.ts';
import { randomHalfs } from './checkpoint/random-halfs.ts';
import { type GgufEntry, type MadeGgufTensor, writeGguf } from './gguf/writer.ts';

const [file = '', ...numbers] = process.argv.slice(2);
// By default the bytes that a token of OPT 1.3B uses: 1.3 G weights.
const [hidden = 2048, layers = 24, heads = 32, ffn = 5632, vocab = 32000] = numbers.map(Number);
if (file === '') {
  process.stderr.write('usage: make-gguf.ts <file> [hidden layers heads ffn vocab]\n');
  process.exit(2);
}

const ggmlType = { f32: 0, f16: 1 } as const;

const tokens = Array.from({ length: vocab }, (_, id) => {
  if (id < 3) return ['<unk>', '<s>', '</s>'][id] ?? '';
  if (id < 259) return `<0x${(id - 3).toString(16).toUpperCase().padStart(2, '0')}>`;
  return `token${id}`;
});
const kinds = tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1));
const metadata: GgufEntry[] = [
  ['general.architecture', value.text('llama')],
  ['llama.block_count', value.u32(layers)],
  ['llama.context_length', value.u32(2048)],
  ['llama.embedding_length', value.u32(hidden)],
  ['llama.feed_forward_length', value.u32(ffn)],
  ['llama.attention.head_count', value.u32(heads)],
  ['llama.attention.head_count_kv', value.u32(heads)],
  ['llama.attention.layer_norm_rms_epsilon', value.f32(1e-5)],
  ['llama.rope.dimension_count', value.u32(hidden / heads)],
  ['llama.vocab_size', value.u32(vocab)],
  ['general.file_type', value.u32(1)],
  ['tokenizer.ggml.model', value.text('llama')],
  ['tokenizer.ggml.tokens', value.texts(tokens)],
  ['tokenizer.ggml.scores', value.f32s(tokens.map(() => 0))],
  ['tokenizer.ggml.token_type', value.i32s(kinds)],
  ['tokenizer.ggml.bos_token_id', value.u32(1)],
  ['tokenizer.ggml.eos_token_id', value.u32(2)],
];

/** Norms are f32 ones. */
const tensors: MadeGgufTensor[] = [];
const halfs = randomHalfs();
const matrix = (name: string, rows: number, columns: number) => {
  const bytes = 2 * rows * columns;
  const parts = () => halfs(bytes);
  tensors.push({ name, sizes: [columns, rows], type: ggmlType.f16, bytes, parts });
};
const ones = Buffer.from(new Float32Array(hidden).fill(1).buffer);
const norm = (name: string) => {
  const parts = () => [ones];
  tensors.push({ name, sizes: [hidden], type: ggmlType.f32, bytes: ones.length, parts });
};
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

const bytes = await writeGguf(file, metadata, tensors);
process.stderr.write(`${file}: ${(bytes / 1e9).toFixed(2)} GB\n`);
