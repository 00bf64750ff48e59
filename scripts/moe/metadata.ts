/** The metadata of synthetic mixtures of experts. */

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { value } from '../../test/support/gguf.ts';
import type { GgufEntry } from '../gguf/writer.ts';
import type { MoeGeometry } from './geometries.ts';
import type { LocalityMix } from './locality.ts';

const gpt2 = fileURLToPath(new URL('../../fixtures/gpt2/', import.meta.url));
const endOfText = '<|endoftext|>';

/** Everything but tensors. */
export async function madeMetadata(
  name: string,
  geometry: MoeGeometry,
  mix: LocalityMix,
): Promise<GgufEntry[]> {
  const { architecture, keys } = geometry;
  const own: readonly GgufEntry[] = [
    ['block_count', value.u32(geometry.layers)],
    ['context_length', value.u32(geometry.positions)],
    ['embedding_length', value.u32(geometry.hidden)],
    ['vocab_size', value.u32(geometry.vocab)],
    ['attention.head_count', value.u32(geometry.heads)],
    ['attention.head_count_kv', value.u32(geometry.kvHeads)],
    ['attention.key_length', value.u32(geometry.headDim)],
    ['attention.value_length', value.u32(geometry.headDim)],
    ['attention.layer_norm_rms_epsilon', value.f32(1e-6)],
    ['rope.dimension_count', value.u32(geometry.headDim)],
    ['rope.freq_base', value.f32(geometry.rotary.theta)],
    ['expert_count', value.u32(geometry.experts)],
    ['expert_used_count', value.u32(geometry.topK)],
    ...keys,
  ];
  const shares = Object.entries(mix).map(([part, share]) => `${part} ${share.toFixed(3)}`);
  return [
    ['general.architecture', value.text(architecture)],
    ['general.name', value.text(`synthetic ${name}`)],
    [
      'general.description',
      value.text(
        `Made-up weights in the geometry of ${name}, for measuring speed and memory; no text model. ` +
          `Routing by construction: ${shares.join(', ')}.`,
      ),
    ],
    ['general.tags', value.texts(['synthetic'])],
    ...own.map(([key, entry]): GgufEntry => [`${architecture}.${key}`, entry]),
    ...(await vocabulary(geometry.vocab)),
  ];
}

/** GPT-2's tokens, padded with synthetic ones to `size`. */
async function vocabulary(size: number): Promise<GgufEntry[]> {
  const ids = JSON.parse(await readFile(`${gpt2}vocab.json`, 'utf8')) as Record<string, number>;
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(ids)) tokens[id] = token;
  const end = ids[endOfText] ?? 0;
  for (let id = tokens.length; id < size; id++) tokens.push(`<extra_${id}>`);
  const merges = (await readFile(`${gpt2}merges.txt`, 'utf8'))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#version'));
  const [plain, control] = [1, 3];
  return [
    ['tokenizer.ggml.model', value.text('gpt2')],
    ['tokenizer.ggml.pre', value.text('gpt-2')],
    ['tokenizer.ggml.tokens', value.texts(tokens)],
    [
      'tokenizer.ggml.token_type',
      value.i32s(tokens.map((_, id) => (id === end ? control : plain))),
    ],
    ['tokenizer.ggml.merges', value.texts(merges)],
    ['tokenizer.ggml.bos_token_id', value.u32(end)],
    ['tokenizer.ggml.eos_token_id', value.u32(end)],
    ['tokenizer.ggml.add_bos_token', value.bool(false)],
  ];
}
