/** Checkpoints that `convert` refuses: one line that says what, where and what to do, and no output. */

import { copyFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  changeConfig,
  copyStories,
  copyStoriesBin,
  pickleFile,
  weightsFile,
  writeShards,
} from '../support/checkpoint.ts';
import { assertRefused, runCli } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { readSafetensors } from '../support/safetensors.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';
import { config, refuses } from './refused-checkpoint.ts';

const root = temporaryRoot();

const pointer = `version https://git-lfs.github.com/spec/v1
oid sha256:2b54bd8ea7b1b2bd0a4fe2c5f2dd1a4f7e2ec3f3a5e7e5a5a5d8e4b0c9f1a2b3
size 250501000
`;
const sharded = (dir: string) => {
  copyStories(dir);
  const tensors = readSafetensors(join(dir, weightsFile));
  rmSync(join(dir, weightsFile));
  return writeShards(dir, tensors, 3);
};

refuses('a download that is not whole', [
  {
    name: 'a git-LFS pointer in place of safetensors',
    make: (dir) => writeFileSync(join(copyStories(dir), weightsFile), pointer),
    says: [`checkpoint/${weightsFile}: is a git-LFS pointer`, 'git lfs pull'],
  },
  {
    name: 'a git-LFS pointer in place of a pickle',
    make: (dir) => writeFileSync(join(copyStoriesBin(dir), pickleFile), pointer),
    says: [`checkpoint/${pickleFile}: is a git-LFS pointer`, 'git lfs pull'],
  },
  {
    name: 'a git-LFS pointer in place of the tokenizer',
    make: (dir) => writeFileSync(join(copyStories(dir), 'tokenizer.json'), pointer),
    says: ['tokenizer.json', 'is a git-LFS pointer', 'git lfs pull'],
  },
  {
    name: 'a safetensors file that ends too early',
    make: (dir) => truncateSync(join(copyStories(dir), weightsFile), 2_000_000),
    says: [`${weightsFile}, tensor model.decoder.`, 'truncated', '2000000', 'Download'],
  },
  {
    name: 'a safetensors file that ends in its header',
    make: (dir) => truncateSync(join(copyStories(dir), weightsFile), 1000),
    says: [
      `${weightsFile}: truncated: the header alone needs`,
      'but the file has 1000',
      'Download',
    ],
  },
  {
    name: 'an empty file of weights',
    make: (dir) => truncateSync(join(copyStories(dir), weightsFile), 0),
    says: [`${weightsFile}: is empty`, 'Download'],
  },
  {
    name: 'a pickle that ends too early',
    make: (dir) => truncateSync(join(copyStoriesBin(dir), pickleFile), 2_000_000),
    says: [`checkpoint/${pickleFile}`, 'truncated', 'ownload'],
  },
  {
    name: 'a shard that is not there',
    make: (dir) => rmSync(join(dir, sharded(dir)[1] ?? '')),
    says: ['model-00002-of-00003.safetensors: this shard is missing', 'index.json', 'Download'],
  },
  {
    name: 'a shard that ends too early',
    make: (dir) => truncateSync(join(dir, sharded(dir)[2] ?? ''), 500_000),
    says: ['model-00003-of-00003.safetensors, tensor model.decoder.', 'truncated', 'Download'],
  },
  {
    name: 'a shard without a tensor that the index promises',
    make: (dir) => {
      const [first = '', second = ''] = sharded(dir);
      copyFileSync(join(dir, second), join(dir, first));
    },
    says: ['model-00001-of-00003.safetensors, tensor model.decoder.', 'index.json', 'Download'],
  },
]);

refuses('a directory that is not a checkpoint', [
  { name: 'an empty one', make: () => {}, says: ['checkpoint: no config.json', 'Hugging Face'] },
  {
    name: 'one without config.json',
    make: (dir) => rmSync(join(copyStories(dir), 'config.json')),
    says: ['checkpoint: no config.json', 'Hugging Face'],
  },
  {
    name: 'one without weights',
    make: (dir) => rmSync(join(copyStories(dir), weightsFile)),
    says: ['checkpoint: no weights', weightsFile, pickleFile, 'Download'],
  },
  {
    name: 'one whose config.json is cut',
    make: (dir) => truncateSync(join(copyStories(dir), 'config.json'), 100),
    says: ['config.json, byte ', 'is not valid JSON'],
  },
  {
    name: 'one without a tokenizer',
    make: (dir) => {
      copyStories(dir);
      for (const name of ['tokenizer.json', 'merges.txt']) rmSync(join(dir, name));
    },
    says: ['checkpoint: no tokenizer', 'tokenizer.json', 'vocab.json', 'merges.txt', 'Add'],
  },
]);

refuses('an architecture that is not ours', [
  {
    name: 'another family',
    make: (dir) => changeConfig(copyStories(dir), { model_type: 'retnet' }),
    says: [
      "config.json: model_type 'retnet' is not supported",
      'Supported architectures: ',
      'opt,',
    ],
  },
  {
    name: 'no family at all',
    make: (dir) => changeConfig(copyStories(dir), { model_type: undefined }),
    says: ['config.json: no model_type', 'Supported architectures: ', 'opt,'],
  },
  {
    name: 'an activation that the kernels do not compute',
    make: (dir) => changeConfig(copyStories(dir), { activation_function: 'mish' }),
    says: ["config.json: activation_function 'mish'", 'Supported: relu, '],
  },
]);

refuses('a config.json that contradicts the tensors', [
  {
    name: 'too few layers',
    make: config({ num_hidden_layers: 5 }),
    says: ['config.json: the checkpoint holds tensors', 'model.decoder.layers.5.', 'num_hidden_'],
  },
  {
    name: 'too many layers',
    make: config({ num_hidden_layers: 7 }),
    says: ['config.json: the checkpoint has no tensor model.decoder.layers.6.'],
  },
  {
    name: 'another FFN width',
    make: config({ ffn_dim: 256 }),
    says: [
      /fc[12]\.(weight|bias): its shape is \[.*512.*\], but config\.json requires \[.*256.*\]/,
    ],
  },
  {
    name: 'another hidden size',
    make: config({ hidden_size: 64, word_embed_proj_dim: 64 }),
    says: [`${weightsFile}, tensor model.decoder.`, 'its shape is [', 'requires [2048, 64]'],
  },
  {
    name: 'another vocabulary',
    make: config({ vocab_size: 4096 }),
    says: ['embed_tokens.weight: its shape is [2048, 128]', 'requires [4096, 128]'],
  },
  {
    name: 'no biases although there are some',
    make: config({ enable_bias: false }),
    says: ['config.json: the checkpoint holds tensors', '.bias', 'enable_bias'],
  },
  {
    name: 'a head of its own that is not there',
    make: config({ tie_word_embeddings: false }),
    says: ['config.json: the checkpoint has no tensor lm_head.weight'],
  },
  {
    name: 'heads that do not divide the hidden size',
    make: config({ num_attention_heads: 5 }),
    says: ['config.json: hidden_size 128 is not a multiple of num_attention_heads 5'],
  },
  {
    name: 'a size that is no size',
    make: config({ ffn_dim: '512' }),
    says: ["config.json: 'ffn_dim' is not a positive integer"],
  },
  {
    name: 'a size that is missing',
    make: config({ hidden_size: undefined }),
    says: ["config.json: 'hidden_size' is missing"],
  },
]);

describe('a checkpoint that is not there', () => {
  it('is told apart from one that is a file', async () => {
    const parent = root.directory();
    const output = join(parent, 'model');
    const missing = await runCli(['convert', join(parent, 'nowhere'), output]);
    assertRefused(missing, [`${join(parent, 'nowhere')}: no such directory`]);
    const file = join(storiesOpt, 'config.json');
    assertRefused(await runCli(['convert', file, output]), [`${file}, byte 0: is not GGUF`]);
    assertEntries(parent, []);
  });
});
