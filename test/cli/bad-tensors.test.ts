/** Tensors that `convert` refuses, and what a refused conversion leaves behind. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { torchPickle, torchZip, type WrittenTensor, zipBytes } from '../checkpoint/torch-writer.ts';
import { copyStories, copyStoriesBin, pickleFile, weightsFile } from '../support/checkpoint.ts';
import { assertRefused, runCli } from '../support/cli.ts';
import { tensorToBf16, tensorToF32 } from '../support/dtypes.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { readSafetensors, type Tensor, writeSafetensors } from '../support/safetensors.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';
import { firstDown, refuses, tensors } from './refused-checkpoint.ts';

const root = temporaryRoot();

refuses('tensors that are not as they must be', [
  {
    name: 'one that is missing',
    make: tensors((all) => all.delete(firstDown)),
    says: [`config.json: the checkpoint has no tensor ${firstDown}`],
  },
  {
    name: 'one of the wrong shape',
    make: tensors((all) => {
      const { dtype, data } = all.get(firstDown) as Tensor;
      all.set(firstDown, { dtype, data, shape: [512, 128] });
    }),
    says: [`${weightsFile}, tensor ${firstDown}: its shape is [512, 128]`, '[128, 512]'],
  },
  {
    name: 'a dtype that safetensors does not read',
    make: tensors((all) => {
      const { shape, data } = all.get(firstDown) as Tensor;
      all.set(firstDown, { dtype: 'F8_E4M3', shape, data: data.subarray(0, data.length / 2) });
    }),
    says: [`${weightsFile}, tensor ${firstDown}: dtype "F8_E4M3" is not supported`, 'F16'],
  },
  {
    name: 'a dtype that weights do not have',
    make: tensors((all) => {
      const { shape, data } = all.get(firstDown) as Tensor;
      all.set(firstDown, { dtype: 'I32', shape, data: Buffer.concat([data, data]) });
    }),
    says: [`${weightsFile}, tensor ${firstDown}: dtype i32 cannot be converted`, 'f32, f16, bf16'],
  },
  {
    name: 'a value beyond the range of the dtype asked for',
    make: tensors((all) => {
      for (const [name, tensor] of all) all.set(name, tensorToF32(tensor));
      all.get(firstDown)?.data.writeFloatLE(1e6, 4 * (2 * 512 + 7));
    }),
    flags: ['--dtype', 'f16'],
    says: [`tensor ${firstDown}: the value at index [2, 7] is too large for f16`, '--dtype bf16'],
  },
]);

interface NonFinite {
  readonly what: string;
  readonly tensor: string;
  readonly index: number;
  readonly says: string;
  readonly dtype: 'F16' | 'F32' | 'BF16';
  readonly bits: number;
}

const nonFinites: readonly NonFinite[] = [
  {
    what: 'NaN in an f16 matrix',
    tensor: 'model.decoder.layers.1.self_attn.v_proj.weight',
    index: 3 * 128 + 5,
    says: '[3, 5]',
    dtype: 'F16',
    bits: 0x7e00,
  },
  {
    what: 'infinity in an f16 up projection',
    tensor: 'model.decoder.layers.2.fc1.weight',
    index: 511 * 128 + 127,
    says: '[511, 127]',
    dtype: 'F16',
    bits: 0x7c00,
  },
  {
    what: 'NaN in an f16 down projection',
    tensor: 'model.decoder.layers.5.fc2.weight',
    index: 17 * 512 + 300,
    says: '[17, 300]',
    dtype: 'F16',
    bits: 0xfe01,
  },
  {
    what: 'minus infinity in an f16 bias',
    tensor: 'model.decoder.layers.3.fc1.bias',
    index: 42,
    says: '[42]',
    dtype: 'F16',
    bits: 0xfc00,
  },
  {
    what: 'NaN in an f32 embedding',
    tensor: 'model.decoder.embed_tokens.weight',
    index: 2047 * 128,
    says: '[2047, 0]',
    dtype: 'F32',
    bits: 0x7fc00000,
  },
  {
    what: 'infinity in an f32 norm',
    tensor: 'model.decoder.final_layer_norm.weight',
    index: 127,
    says: '[127]',
    dtype: 'F32',
    bits: 0x7f800000,
  },
  {
    what: 'NaN in a bf16 down projection',
    tensor: 'model.decoder.layers.0.fc2.weight',
    index: 0,
    says: '[0, 0]',
    dtype: 'BF16',
    bits: 0x7fc0,
  },
  {
    what: 'minus infinity in a bf16 position table',
    tensor: 'model.decoder.embed_positions.weight',
    index: 513 * 128 + 64,
    says: '[513, 64]',
    dtype: 'BF16',
    bits: 0xff80,
  },
];

refuses(
  'weights that are not finite',
  nonFinites.map(({ what, tensor, index, says, dtype, bits }) => ({
    name: what,
    make: tensors((all) => {
      const convert = { F16: (t: Tensor) => t, F32: tensorToF32, BF16: tensorToBf16 }[dtype];
      for (const [name, value] of all) all.set(name, convert(value));
      const data = all.get(tensor)?.data;
      if (dtype === 'F32') data?.writeUInt32LE(bits, index * 4);
      else data?.writeUInt16LE(bits, index * 2);
    }),
    says: [`${weightsFile}, tensor ${tensor}: not a finite number at index ${says}`, 'damaged'],
  })),
);

/** Weights as torch.save would write them: every tensor a storage of its own. */
function writePickle(dir: string, all: ReadonlyMap<string, Tensor>): void {
  const written: Record<string, WrittenTensor> = {};
  const storages: Record<string, Buffer> = {};
  for (const [name, { shape, data }] of all) {
    const key = String(Object.keys(storages).length);
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    const elements = data.length / 2;
    written[name] = { key, storageClass: 'HalfStorage', elements, offset: 0, shape, strides };
    storages[key] = data;
  }
  writeFileSync(join(dir, pickleFile), torchZip(torchPickle(written), storages));
}

refuses('a pickle', [
  {
    name: 'that would run a command',
    make: (dir) => {
      const pickle = Buffer.from(`\x80\x02cposix\nsystem\n(Vtouch ${dir}/pwned\ntR.`, 'latin1');
      writeFileSync(
        join(copyStoriesBin(dir), pickleFile),
        zipBytes({ 'archive/data.pkl': pickle }),
      );
    },
    says: [`${pickleFile}`, 'posix.system'],
  },
  {
    name: 'with infinity in it',
    make: (dir) => {
      copyStoriesBin(dir);
      const all = readSafetensors(join(storiesOpt, weightsFile));
      all.get('model.decoder.layers.4.fc1.weight')?.data.writeUInt16LE(0x7c00, 2 * 128);
      writePickle(dir, all);
    },
    says: [`${pickleFile}, tensor model.decoder.layers.4.fc1.weight: not a finite`, '[1, 0]'],
  },
  {
    name: 'without one of the tensors',
    make: (dir) => {
      copyStoriesBin(dir);
      const all = readSafetensors(join(storiesOpt, weightsFile));
      all.delete('model.decoder.layers.4.fc1.bias');
      writePickle(dir, all);
    },
    says: ['config.json: the checkpoint has no tensor model.decoder.layers.4.fc1.bias'],
  },
  {
    name: 'that is no pickle',
    make: (dir) => writeFileSync(join(copyStoriesBin(dir), pickleFile), 'PK but not quite'),
    says: [`checkpoint/${pickleFile}`],
  },
]);

describe('what a refused conversion leaves behind', () => {
  it('is nothing, not even the directories above the output', async () => {
    const parent = root.directory();
    const checkpoint = join(parent, 'checkpoint');
    tensors((all) => all.get(firstDown)?.data.writeUInt16LE(0x7c00, 0))(checkpoint);
    const result = await runCli(['convert', checkpoint, join(parent, 'a', 'b', 'model')]);
    assertRefused(result, ['not a finite number at index [0, 0]']);
    assertEntries(parent, ['checkpoint']);
  });

  it('is the model that was there before, when it was to be replaced', async () => {
    const parent = root.directory();
    const model = join(parent, 'model');
    assert.equal((await runCli(['convert', storiesOpt, model])).code, 0);
    const before = readFileSync(join(model, 'flash.json'));
    const checkpoint = join(parent, 'checkpoint');
    tensors((all) => all.get(firstDown)?.data.writeUInt16LE(0x7c00, 0))(checkpoint);
    assertRefused(await runCli(['convert', checkpoint, model, '--force']), ['not a finite']);
    assertEntries(parent, ['checkpoint', 'model']);
    assert.deepEqual(readFileSync(join(model, 'flash.json')), before);
    assert.ok(existsSync(join(model, 'bundles.safetensors')));
  });

  it('is nothing when a dry run refuses', async () => {
    const parent = root.directory();
    const checkpoint = join(parent, 'checkpoint');
    mkdirSync(checkpoint);
    const shortened = copyStories(checkpoint);
    writeSafetensors(join(shortened, weightsFile), new Map());
    const result = await runCli(['convert', checkpoint, join(parent, 'model'), '--dry-run']);
    assertRefused(result, ['config.json: the checkpoint has no tensor']);
    assertEntries(parent, ['checkpoint']);
  });
});
