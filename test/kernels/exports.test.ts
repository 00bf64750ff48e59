/** The tables of kernels, the sources in assembly, and the modules that are built of them: one and the same. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  AssemblyExports,
  type AssemblySource,
  readSources,
} from '../../scripts/kernel-exports/assembly-sources.ts';
import { exportFiles } from '../../scripts/kernel-exports/export-files.ts';
import { dtypeNames, formatNames, formats } from '../../src/dtype.ts';
import { FlashError } from '../../src/errors.ts';
import {
  bindKernels,
  formatExports,
  instantiateCore,
  plainExports,
} from '../../src/kernels/bind.ts';
import { parametersOf } from '../../src/kernels/signature.ts';
import { layout } from '../../src/kernels/threads/drain.ts';
import { createMemory } from '../../src/pages.ts';
import { exportedSignatures } from './wasm-signatures.ts';

const assembly = new URL('../../assembly/', import.meta.url);
const sources = readSources(assembly);
const kernels = [...plainExports, ...formatNames.flatMap(formatExports)];
const builds = ['flashllm.wasm', 'flashllm.relaxed.wasm'] as const;
const readBuild = (file: string) => readFileSync(new URL(`../../build/${file}`, import.meta.url));

test('the export files are those that the tables give', () => {
  const wanted = exportFiles(new AssemblyExports(sources));
  const there = readdirSync(new URL('exports/', assembly)).map((name) => `exports/${name}`);
  assert.deepEqual([...wanted.keys()].sort(), ['index.ts', ...there].sort());
  for (const [path, text] of wanted) {
    const hint = 'run "npm run generate"';
    assert.equal(readFileSync(new URL(path, assembly), 'utf8'), text, `assembly/${path}: ${hint}`);
  }
});

/** The sources with one piece of text exchanged. */
function changed(module: string, from: string, to: string): readonly AssemblySource[] {
  return sources.map((source) => {
    if (source.module !== module) return source;
    assert.ok(source.text.includes(from), `${module}.ts has no "${from}"`);
    return { module, text: source.text.replace(from, to) };
  });
}

test('a function in assembly whose signature is not that of its kernel is refused', () => {
  const head = 'export function ffnUp<D extends Dots>(\n  acts: usize,\n  x: usize,';
  for (const to of [
    'export function ffnUp<D extends Dots>(\n  acts: usize,\n  input: usize,', // a name
    'export function ffnUp<D extends Dots>(\n  x: usize,\n  acts: usize,', // the order
    'export function ffnUp<D extends Dots>(\n  acts: usize,\n  x: i32,', // a type
    'export function ffnUp<D extends Dots>(\n  acts: usize,', // one fewer
  ]) {
    const other = new AssemblyExports(changed('ffn', head, to));
    assert.throws(() => exportFiles(other), /^Error: ffnUp in assembly\/ffn\.ts is\n/);
  }
  const result = changed(
    'math',
    'export function countActive(x: usize, n: i32): i32',
    'export function countActive(x: usize, n: i32): f32',
  );
  assert.throws(
    () => exportFiles(new AssemblyExports(result)),
    /countActive in assembly\/math\.ts/,
  );
});

test('a kernel that nothing in assembly computes, or two files do, is refused', () => {
  const gone = changed('norm', 'export function rmsNorm(', 'function rmsNorm(');
  assert.throws(() => exportFiles(new AssemblyExports(gone)), {
    message: 'no file in assembly exports rmsNorm',
  });
  const twice = [...sources, { module: 'other', text: 'export function rmsNorm(x: i32): void {}' }];
  assert.throws(() => exportFiles(new AssemblyExports(twice)), {
    message: 'rmsNorm is exported by several files in assembly: norm.ts, other.ts',
  });
});

for (const file of builds) {
  test(`${file} exports the kernels of the tables with their types, and no others`, () => {
    // Addresses and sizes are 32 bits wide.
    const wasmType = (type: string) => (type === 'usize' ? 'i32' : type);
    const wanted = kernels.map(({ name, signature }) => {
      const types = parametersOf(signature).map(({ type }) => wasmType(type));
      return [name, `(${types.join(', ')}): ${signature.result ?? 'void'}`] as const;
    });
    const there = [...exportedSignatures(readBuild(file))];
    assert.deepEqual(Object.fromEntries(there), Object.fromEntries(wanted));
  });
}

/** The core with an export's name exchanged for another of the same length. */
async function coreWithout(name: string): Promise<WebAssembly.Module> {
  const bytes = readBuild('flashllm.wasm');
  const at = bytes.indexOf(`${String.fromCharCode(name.length)}${name}`);
  assert.ok(at > 0);
  bytes[at + name.length] = '~'.charCodeAt(0);
  return WebAssembly.compile(bytes);
}

test('a core that was built of other tables is refused', async () => {
  const memory = createMemory(65536);
  const hint = 'Run "npm run build" to make it again';
  for (const [name, what] of [
    ['ffnSums_q4', 'it has no kernel ffnSums_q4 of 12 parameters'],
    ['NEURON_GROUP', 'its NEURON_GROUP is undefined, not 64'],
    ['Q4_BLOCK_BYTES', 'its Q4_BLOCK_BYTES is undefined, not 18'],
  ] as const) {
    const module = await coreWithout(name);
    const message = `the compute core was not built from these sources: ${what}`;
    assert.throws(() => instantiateCore(module, memory), new FlashError(message, {}, hint));
  }
});

test('a format has the kernels that its row says', async () => {
  const module = await WebAssembly.compile(readBuild('flashllm.wasm'));
  const bound = bindKernels(instantiateCore(module, createMemory(65536)));
  for (const dtype of dtypeNames) {
    const names = Object.keys(bound.byDType[dtype]);
    assert.equal(names.includes('fromF32'), formats[dtype].encoder, dtype);
    assert.ok(names.includes('firstNonFinite'), dtype);
    assert.ok(!names.includes('pack'), dtype);
  }
  const packed = Object.keys(bound.packedF16);
  assert.deepEqual(
    ['fromF32', 'firstNonFinite', 'pack', 'packable'].map((name) => packed.includes(name)),
    [false, false, true, true],
  );
});

test('threads have room for the parameters of every kernel', () => {
  const most = Math.max(...kernels.map(({ signature }) => signature.parameters.length));
  assert.ok(most <= layout.parameters, `${most}`);
});
