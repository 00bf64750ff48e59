import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layoutModel, type StorageDTypes, sectorBytes } from '../../src/flash/layout.ts';
import { recipeOf } from '../../src/models/index.ts';

function layoutOf(config: Record<string, unknown>, dtypes: StorageDTypes) {
  const recipe = recipeOf({
    config: {
      model_type: 'opt',
      hidden_size: 36,
      num_attention_heads: 6,
      num_hidden_layers: 3,
      ffn_dim: 76,
      vocab_size: 272,
      max_position_embeddings: 48,
      ...config,
    },
    configFile: 'config.json',
    sourceNames: new Set(['decoder.embed_tokens.weight']),
    tensorCount: 50,
  });
  return layoutModel(recipe, dtypes);
}

for (const dtype of ['f32', 'f16', 'bf16'] as const) {
  test(`files have no holes and are aligned (${dtype})`, () => {
    const { resident, bundles, layers } = layoutOf({}, { resident: dtype, bundles: dtype });
    for (const layout of [resident, bundles]) {
      assert.equal(layout.header.length % sectorBytes, 0);
      const length = Number(Buffer.from(layout.header).readBigUInt64LE());
      assert.equal(8 + length, layout.header.length);
      const header = JSON.parse(Buffer.from(layout.header.subarray(8)).toString()) as Record<
        string,
        { data_offsets: [number, number] }
      >;
      const ranges = Object.entries(header)
        .filter(([name]) => name !== '__metadata__')
        .map(([, { data_offsets }]) => data_offsets)
        .sort((a, b) => a[0] - b[0]);
      let end = 0;
      for (const [begin, stop] of ranges) {
        assert.equal(begin, end);
        end = stop;
      }
      assert.equal(layout.header.length + end, layout.bytes);
      for (const tensor of layout.tensors) {
        const alignment = tensor.shape.length > 1 ? sectorBytes : 64;
        assert.equal(tensor.offset % alignment, 0, tensor.name);
      }
    }
    for (const { bundleBytes, downOffset, neurons } of layers) {
      assert.equal(bundleBytes % 512, 0);
      assert.equal(downOffset, 36 * (dtype === 'f32' ? 4 : 2));
      assert.equal(neurons, 76);
    }
  });
}

test('matrices lie in the order in which a token uses them', () => {
  const { resident } = layoutOf(
    { word_embed_proj_dim: 16, tie_word_embeddings: false },
    {
      resident: 'f16',
      bundles: 'f16',
    },
  );
  const matrices = resident.tensors.filter(({ shape }) => shape.length > 1).map(({ name }) => name);
  assert.deepEqual(matrices.slice(0, 6), [
    'embed.tokens',
    'embed.positions',
    'embed.project_in',
    'embed.project_out',
    'layers.0.attention.qkv.weight',
    'layers.0.attention.out.weight',
  ]);
  assert.equal(matrices.at(-1), 'head');
});
