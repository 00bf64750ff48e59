/**
 * Writes a Hugging Face directory of a real OPT geometry with random weights, at the speed of the
 * disk: for measuring memory, reads and speed at sizes whose real weights cannot be bundled.
 *
 *   node --import tsx scripts/make-checkpoint.ts <size> <directory>      size: 125m, 350m, 1.3b, ...
 */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomHalfs } from './random-halfs.ts';

const geometries: Readonly<Record<string, { hidden: number; layers: number; heads: number }>> = {
  '125m': { hidden: 768, layers: 12, heads: 12 },
  '1.3b': { hidden: 2048, layers: 24, heads: 32 },
  '2.7b': { hidden: 2560, layers: 32, heads: 32 },
  '6.7b': { hidden: 4096, layers: 32, heads: 32 },
};
const vocabSize = 50272;
const maxPositions = 2048;

const [size = '', directory = ''] = process.argv.slice(2);
const geometry = geometries[size];
if (geometry === undefined || directory === '') {
  process.stderr.write(
    `usage: make-checkpoint.ts <${Object.keys(geometries).join('|')}> <directory>\n`,
  );
  process.exit(2);
}
const { hidden, layers, heads } = geometry;

type Kind = 'normal' | 'one' | 'zero';
const tensors: { name: string; shape: number[]; kind: Kind }[] = [];
const add = (name: string, shape: number[], kind: Kind) => tensors.push({ name, shape, kind });
const addNorm = (name: string) => {
  add(`${name}.weight`, [hidden], 'one');
  add(`${name}.bias`, [hidden], 'zero');
};
const addLinear = (name: string, rows: number, columns: number) => {
  add(`${name}.weight`, [rows, columns], 'normal');
  add(`${name}.bias`, [rows], 'normal');
};
const root = 'model.decoder';
add(`${root}.embed_tokens.weight`, [vocabSize, hidden], 'normal');
add(`${root}.embed_positions.weight`, [maxPositions + 2, hidden], 'normal');
for (let layer = 0; layer < layers; layer++) {
  const at = `${root}.layers.${layer}`;
  addNorm(`${at}.self_attn_layer_norm`);
  for (const name of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) {
    addLinear(`${at}.self_attn.${name}`, hidden, hidden);
  }
  addNorm(`${at}.final_layer_norm`);
  addLinear(`${at}.fc1`, 4 * hidden, hidden);
  addLinear(`${at}.fc2`, hidden, 4 * hidden);
}
addNorm(`${root}.final_layer_norm`);

await mkdir(directory, { recursive: true });
await writeWeights(join(directory, 'model.safetensors'));
await writeConfig();
await writeTokenizer();

async function writeWeights(path: string): Promise<void> {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const { name, shape } of tensors) {
    const bytes = 2 * shape.reduce((product, n) => product * n, 1);
    header[name] = { dtype: 'F16', shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const out = createWriteStream(path, { highWaterMark: 16 * 1024 * 1024 });
  const write = async (data: Uint8Array) => {
    if (!out.write(data)) await once(out, 'drain');
  };
  await write(length);
  await write(json);
  const halfs = randomHalfs();
  for (const { shape, kind } of tensors) {
    const bytes = 2 * shape.reduce((product, n) => product * n, 1);
    if (kind === 'normal') for (const part of halfs(bytes)) await write(part);
    else
      await write(Buffer.from(new Uint16Array(bytes / 2).fill(kind === 'one' ? 0x3c00 : 0).buffer));
  }
  out.end();
  await once(out, 'close');
  process.stderr.write(`${path}: ${(end / 1e9).toFixed(2)} GB\n`);
}

async function writeConfig(): Promise<void> {
  const config = {
    activation_function: 'relu',
    architectures: ['OPTForCausalLM'],
    bos_token_id: 2,
    do_layer_norm_before: true,
    eos_token_id: 2,
    ffn_dim: 4 * hidden,
    hidden_size: hidden,
    max_position_embeddings: maxPositions,
    model_type: 'opt',
    num_attention_heads: heads,
    num_hidden_layers: layers,
    pad_token_id: 1,
    torch_dtype: 'float16',
    vocab_size: vocabSize,
    word_embed_proj_dim: hidden,
  };
  await writeFile(join(directory, 'config.json'), JSON.stringify(config, null, 1));
}

/** GPT-2's tokens behind OPT's four special ones. */
async function writeTokenizer(): Promise<void> {
  const fixture = fileURLToPath(new URL('../fixtures/gpt2/', import.meta.url));
  const read = (name: string) => readFile(join(fixture, name), 'utf8');
  const vocabulary: Record<string, number> = { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3 };
  let next = Object.keys(vocabulary).length;
  for (const token of Object.keys(JSON.parse(await read('vocab.json')) as object)) {
    vocabulary[token] = next++;
  }
  await writeFile(join(directory, 'vocab.json'), JSON.stringify(vocabulary));
  await writeFile(join(directory, 'merges.txt'), await read('merges.txt'));
  await copyFile(
    join(fixture, '../stories-opt/tokenizer_config.json'),
    join(directory, 'tokenizer_config.json'),
  );
}
