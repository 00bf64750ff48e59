/** Manifests of mixtures of experts, with a checksum that fits and numbers that do not. */

import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { parseManifest } from '../../src/flash/manifest-reader.ts';
import { documentOf, mended, tinyManifest, withValue } from '../support/manifest.ts';

const config = {
  model_type: 'qwen2_moe',
  hidden_size: 64,
  intermediate_size: 96,
  num_experts: 6,
  num_experts_per_tok: 2,
  moe_intermediate_size: 32,
  shared_expert_intermediate_size: 64,
  mlp_only_layers: [0],
};
const document = documentOf(tinyManifest(config));

test('a mixture of experts is read as it is', () => {
  const { ffns, layers, spec, tensors } = parseManifest(mended(document), 'flash.json');
  assert.deepEqual(layers, []);
  assert.deepEqual(
    ffns.map((units) => units.map(({ name, kind, k, count }) => ({ name, kind, k, count }))),
    [
      [{ name: 'ffn', kind: 'tile', k: 96, count: 1 }],
      [
        { name: 'shared', kind: 'tile', k: 64, count: 1 },
        { name: 'experts', kind: 'expert', k: 32, count: 6 },
      ],
    ],
  );
  assert.deepEqual(spec.ffn.experts?.denseLayers, [0]);
  assert.equal(tensors.get('layers.1.ffn.router.weight')?.dtype, 'f32');
  // Gate, up and down side by side, at a boundary that every device reads from.
  assert.equal(tensors.get('layers.1.ffn.experts')?.shape[1], 3 * 32 * 64 * 2);
  assert.equal(ffns[1]?.[1]?.unitBytes, 12288);
});

const lies: readonly (readonly [path: readonly (string | number)[], value: unknown, RegExp])[] = [
  [['ffns', 1, 1, 'k'], 64, /6 units of 64 neurons are not 192/],
  [['ffns', 1, 1, 'count'], 7, /7 units of 32 neurons/],
  [['ffns', 1, 1, 'kind'], 'tile', /of kind tile, not expert/],
  [['ffns', 1, 1, 'unitBytes'], 12800, /unitBytes 12800 is not 12288/],
  [['ffns', 1, 0, 'name'], 'ffn', /its FFNs are not shared and experts/],
  [['ffns', 0, 0, 'name'], 'experts', /its FFNs are not ffn/],
  [['architecture', 'ffn', 'experts', 'topK'], 7, /a token takes 7 of 6 experts/],
  [['architecture', 'ffn', 'experts', 'count'], 2 ** 31, /are not/],
  [['architecture', 'ffn', 'experts', 'count'], 1e300, /architecture\.ffn\.experts\.count/],
  [['architecture', 'ffn', 'experts', 'shared'], 0, /its FFNs are not experts/],
  [['architecture', 'ffn', 'experts', 'denseLayers'], [], /ffns\.0: its FFNs are not shared/],
  [['architecture', 'ffn', 'experts', 'denseLayers'], [0, 5], /layers 0, 5 of 2 have no experts/],
  [['architecture', 'ffn', 'experts', 'denseLayers'], [0, 0], /layers 0, 0 of 2/],
  [['architecture', 'ffn', 'experts', 'scale'], -1, /scale/],
  [['architecture', 'ffn', 'experts', 'score'], 'guess', /score/],
  [
    ['architecture', 'ffn', 'experts', 'groups'],
    { count: 4, topK: 1, best: 1 },
    /2 of 6 experts in 1 of 4 groups/,
  ],
  [['tensors', 'layers.1.ffn.router.weight', 'dtype'], 'f16', /its dtype is f16/],
  [['tensors', 'layers.1.ffn.router.weight', 'shape'], [7, 64], /its shape is not \(6, 64\)/],
  [['tensors', 'layers.1.ffn.shared_gate'], undefined, /there is no layers\.1\.ffn\.shared_gate/],
  [['tensors', 'layers.1.ffn.experts', 'rowsPerBlock'], 2, /a block has 1 rows/],
];

describe('a manifest of experts with a checksum that fits, and', () => {
  for (const [path, value, says] of lies) {
    it(`${path.join('.')} ${JSON.stringify(value)?.slice(0, 40) ?? 'nothing'} is refused`, () => {
      const text = mended(withValue(document, path, value));
      assert.throws(() => parseManifest(text, 'flash.json'), { name: 'InputError', message: says });
    });
  }
});
