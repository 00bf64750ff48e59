import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ggmlTypes } from '../src/checkpoint/gguf/ggml-types.ts';
import {
  byteLength,
  dtypeNames,
  encodedDTypes,
  floatDTypes,
  formatNames,
  formats,
  ggufDTypes,
  neuronDTypes,
} from '../src/dtype.ts';

test('flash.json knows the formats that are stored', () => {
  const neurons = ['f32', 'f16', 'bf16', 'q8', 'q4', 'ternary'];
  const blocks = ['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'q4_k', 'q5_k', 'q6_k'];
  assert.deepEqual(floatDTypes, ['f32', 'f16', 'bf16']);
  assert.deepEqual(encodedDTypes, [...neurons, ...blocks]);
  assert.deepEqual(neuronDTypes, neurons);
  assert.deepEqual(dtypeNames, [...neurons, ...ggufDTypes]);
});

test('formats of GGUF files have the sizes that the files have', () => {
  // Those of ternary weights become rows of one format of our own.
  const types = [...ggmlTypes.values()].filter(
    ({ name, dequantise }) => dequantise !== null && !name.startsWith('TQ'),
  );
  const sizes = types.map(({ name, blockElements, blockBytes }) => {
    return [name.toLowerCase(), blockElements, blockBytes];
  });
  const ours = ggufDTypes.map((name) => [
    name,
    formats[name].blockElements,
    formats[name].blockBytes,
  ]);
  assert.deepEqual(ours.sort(), sizes.sort());
});

test('a row of blocks ends with a whole one', () => {
  assert.deepEqual(
    [0, 1, 32, 33].map((n) => formats.q4.rowBytes(n)),
    [0, 18, 18, 36],
  );
  assert.equal(byteLength('f16', 33), 66);
  // Kernels of blocks and their scratch are made for blocks of one length.
  assert.equal(formats.q4.blockElements, formats.q8.blockElements);
});

test('a packed format is of another one, and takes its room', () => {
  for (const name of formatNames) {
    const { packed, packedAs, safetensors, encoder } = formats[name];
    if (packed) {
      assert.equal(safetensors, null);
      assert.equal(encoder, false);
      assert.equal(packedAs, null);
      assert.ok(formatNames.some((other) => formats[other].packedAs === name));
    }
    if (packedAs !== null) {
      assert.ok(formats[packedAs].packed);
      assert.equal(formats[packedAs].rowBytes(77), formats[name].rowBytes(77));
    }
  }
});
