/**
 * Checks that `flash.json` is consistent. Its checksum finds damage, not intent: anyone who writes a file can
 * write its checksum, too. Therefore every number that bounds a loop, sizes a buffer or controls a kernel's
 * reads must follow from the architecture and from the lengths of files, or the model is refused.
 */

import { byteLength, isNeuronDType, isQuantised, wholeBlocks } from '../dtype.ts';
import { isRouter, type ModelSpec, tensorNames, type WeightDTypes } from '../models/spec.ts';
import { contradictionIn, type SpecTensor, tensorsOf } from '../models/spec-tensors.ts';
import { alignUp } from '../units.ts';
import { rowsPerBlock } from './checksum.ts';
import {
  type FfnUnits,
  ffnsOf,
  layoutUnit,
  neuronGeometry,
  type PartName,
  partOf,
  type SpecFfn,
  unitTensor,
} from './ffn-units.ts';
import { sectorBytes, vectorAlignment } from './layout.ts';
import {
  bundleLayers,
  bundlesFile,
  isSideFile,
  type Manifest,
  residentFile,
  rowsOf,
  type StoredTensor,
} from './manifest.ts';

/** The longest header of a file of weights, in bytes: some hundred bytes for each tensor. */
const longestHeader = 100_000_000;
/** The most bytes of a file without a header, such as a tokenizer. */
const longestSideFile = 256 * 2 ** 20;

/** Yields the faults of a manifest, in order; none if it is correct. */
export function* problemsOf(manifest: Manifest): Generator<string> {
  yield* fileProblems(manifest);
  yield* layerProblems(manifest);
  const contradiction = contradictionIn(manifest.spec);
  if (contradiction !== null) yield `architecture: ${contradiction}`;
  yield* tensorProblems(manifest);
  for (const file of [residentFile, bundlesFile]) yield* placeProblems(manifest, file);
}

function* fileProblems({ files }: Manifest): Generator<string> {
  for (const [name, { bytes, crc32, headerBytes }] of Object.entries(files)) {
    const at = `files: ${name}`;
    if (!/^[0-9a-f]{8}$/.test(crc32)) yield `${at}: its crc32 is not 8 hexadecimal digits`;
    if (name === residentFile || name === bundlesFile) {
      const sectors = headerBytes !== undefined && headerBytes > 0 && bytes > 0;
      if (!sectors || headerBytes % sectorBytes !== 0 || bytes % sectorBytes !== 0) {
        yield `${at}: its length, ${bytes} bytes, or that of its header, ${headerBytes ?? 0}, is not a multiple of ${sectorBytes}`;
      }
      if (headerBytes !== undefined && headerBytes > Math.min(bytes, longestHeader)) {
        yield `${at}: its header of ${headerBytes} bytes is too long`;
      }
    } else if (!isSideFile(name)) {
      yield `${at}: a model directory has no such file`;
    } else if (headerBytes !== undefined || bytes > longestSideFile) {
      yield `${at}: it has ${bytes} bytes (at most ${longestSideFile}), or a header`;
    }
  }
  for (const name of [residentFile, bundlesFile, 'tokenizer.json']) {
    if (!Object.hasOwn(files, name)) yield `files: there is no ${name}`;
  }
}

function* layerProblems({ layers, ffns, spec, dtypes }: Manifest): Generator<string> {
  // Checked before any loop runs to this number.
  if (spec.layers !== ffns.length) {
    yield `architecture: ${spec.layers} layers, but FFNs of ${ffns.length}`;
  }
  const { hiddenSize, ffn } = spec;
  const gated = ffn.gate !== 'none';
  const { bundles } = dtypes;
  const isNeurons = bundles !== 'mixed' && isNeuronDType(bundles);
  if (layers.length > 0 && !isNeurons) yield `dtypes: single neurons cannot be in ${bundles}`;
  const dtypeOf = () => (bundles === 'mixed' ? 'f32' : bundles);
  const neuron = layoutUnit({ kind: 'neuron', k: 1, hiddenSize, gated, dtypeOf });
  const expected = neuronGeometry({ kind: 'neuron', ...neuron });
  for (const [index, layer] of layers.entries()) {
    const at = `layers.${index}`;
    if (layer.tensor !== tensorNames.bundles(index))
      yield `${at}: its bundles are not those of a layer`;
    if (layer.neurons !== ffn.neurons) yield `${at}: ${layer.neurons} neurons of ${ffn.neurons}`;
    for (const key of ['bundleBytes', 'upOffset', 'downOffset'] as const) {
      if (layer[key] === expected?.[key]) continue;
      yield `${at}: ${key} ${layer[key]} is not ${expected?.[key]}`;
    }
    const { order, neurons } = layer;
    if (order !== undefined && !isPermutation(order, neurons))
      yield `${at}: its order does not name every neuron once`;
  }
  for (const [layer, units] of ffns.entries()) {
    const wanted = ffnsOf(spec, layer);
    if (units.map(({ name }) => name).join() !== wanted.map(({ name }) => name).join()) {
      yield `ffns.${layer}: its FFNs are not ${wanted.map(({ name }) => name).join(' and ')}`;
    }
    for (const [index, ffn] of units.entries()) {
      const expected = wanted[index];
      if (expected === undefined) return;
      for (const problem of unitProblems(ffn, expected, layer, spec, dtypes.bundles)) {
        yield `ffns.${layer}.${index}: ${problem}`;
      }
    }
  }
  if (layers.length !== bundleLayers(ffns).length) {
    yield `layers: ${layers.length} are described by bundles, of ${bundleLayers(ffns).length}`;
  }
}

/** Yields the faults of one FFN's units. */
function* unitProblems(
  ffn: FfnUnits,
  { name, neurons, k: asked, kinds }: SpecFfn,
  layer: number,
  { hiddenSize, ffn: { gate } }: ModelSpec,
  bundles: WeightDTypes['bundles'],
): Generator<string> {
  const { tensor, kind, k, count, unitBytes, parts } = ffn;
  if (!kinds.includes(kind)) yield `its units are of kind ${kind}, not ${kinds.join(' or ')}`;
  if (tensor !== unitTensor(layer, name, kind)) yield 'its tensor is not that of its units';
  if (k * count !== neurons) yield `${count} units of ${k} neurons are not ${neurons}`;
  if ((kind === 'neuron') !== (k === 1)) yield `a unit of kind ${kind} has ${k} neurons`;
  if (asked !== null && k !== asked) yield `a unit has ${k} neurons, not ${asked}`;
  const dtypeOf = (part: PartName) => partOf(ffn, part)?.dtype ?? 'f32';
  const gated = gate !== 'none';
  const expected = layoutUnit({ kind, k, hiddenSize, gated, dtypeOf });
  if (unitBytes !== expected.unitBytes) {
    yield `unitBytes ${unitBytes} is not ${expected.unitBytes}`;
  }
  if (parts.length !== expected.parts.length) yield `a unit has ${parts.length} parts`;
  for (const [index, found] of parts.entries()) {
    const wanted = expected.parts[index];
    if (found.part !== wanted?.part) yield `its part ${index} is ${found.part}`;
    // The kernels for single neurons need one dtype for all parts; experts in the same model may have others.
    const own = bundles === 'mixed' ? parts[0]?.dtype : bundles;
    if (kind === 'neuron' && found.dtype !== own) yield `its ${found.part} is ${found.dtype}`;
    if (kind === 'neuron' && !isNeuronDType(found.dtype)) {
      yield `its ${found.part} is ${found.dtype}, which single neurons cannot be in`;
    }
    if (!wholeBlocks(found.dtype, found.shape[1])) {
      yield `its ${found.part} has rows of ${found.shape[1]}, not of whole blocks of ${found.dtype}`;
    }
    if (found.offset !== wanted?.offset) {
      yield `its ${found.part} is at ${found.offset}, not at ${wanted?.offset}`;
    }
    if (found.shape.join() !== wanted?.shape.join()) {
      yield `its ${found.part} is not (${wanted?.shape.join(', ')})`;
    }
    if (found.orientation !== wanted?.orientation) {
      yield `its ${found.part} lies by ${found.orientation}, not by ${wanted?.orientation}`;
    }
  }
}

/** Whether `order` names each of the neurons once. */
export function isPermutation(order: Uint32Array, neurons: number): boolean {
  if (order.length !== neurons) return false;
  const seen = new Uint8Array(neurons);
  for (const neuron of order) {
    if (neuron >= neurons || seen[neuron] === 1) return false;
    seen[neuron] = 1;
  }
  return true;
}

function* tensorProblems({ tensors, ffns, spec, dtypes }: Manifest): Generator<string> {
  const known = new Set<string>();
  const compare = function* (expected: SpecTensor, dtypeOk: (tensor: StoredTensor) => boolean) {
    known.add(expected.name);
    const tensor = tensors.get(expected.name);
    if (tensor !== undefined) yield* oneTensorProblems(tensor, expected, dtypeOk(tensor));
    else if (expected.needed) yield `tensors: there is no ${expected.name}`;
  };
  const { resident } = dtypes;
  for (const expected of tensorsOf(spec, tensors)) {
    yield* compare(expected, ({ name, dtype, shape }) => {
      if (shape.length === 1 || isRouter(name)) return dtype === 'f32';
      // The table of positions is never quantised: see residentDType.
      const exact =
        name === tensorNames.positions && (resident === 'mixed' || isQuantised(resident));
      if (dtype === 'u8') return false;
      return exact ? !isQuantised(dtype) : resident === 'mixed' || dtype === resident;
    });
  }
  for (const { tensor: name, count, unitBytes } of ffns.flat()) {
    const expected = { name, shape: [count, unitBytes], needed: true };
    yield* compare(expected, ({ dtype }) => dtype === 'u8');
  }
  for (const name of tensors.keys()) {
    if (!known.has(name)) yield `tensors: this architecture has no ${name}`;
  }
}

function* oneTensorProblems(
  tensor: StoredTensor,
  { name, shape }: SpecTensor,
  dtypeOk: boolean,
): Generator<string> {
  const at = `tensors: ${name}`;
  if (tensor.shape.length !== shape.length || tensor.shape.some((n, axis) => n !== shape[axis])) {
    yield `${at}: its shape is not (${shape.join(', ')})`;
    return;
  }
  if (!dtypeOk) yield `${at}: its dtype is ${tensor.dtype}`;
  if (tensor.dtype !== 'u8' && !wholeBlocks(tensor.dtype, shape.at(-1) ?? 1)) {
    yield `${at}: its rows are not whole blocks of ${tensor.dtype}`;
  }
  const isBundles = tensor.dtype === 'u8';
  const file = isBundles ? bundlesFile : residentFile;
  if (tensor.file !== file) yield `${at}: it is not in ${file}`;
  const [first = 1, columns = first] = shape;
  const rows = shape.length > 1 ? first : 1;
  const rowBytes = tensor.dtype === 'u8' ? columns : byteLength(tensor.dtype, columns);
  if (tensor.bytes !== rows * rowBytes) {
    yield `${at}: ${tensor.bytes} bytes are not ${rows} rows of ${rowBytes}`;
  }
  const matrix = shape.length > 1 && !isBundles;
  const blockRows = matrix ? rowsPerBlock(rowBytes) : 1;
  if (tensor.rowsPerBlock !== blockRows) yield `${at}: a block has ${blockRows} rows`;
  if (tensor.checksums.length !== Math.ceil(rows / blockRows)) {
    yield `${at}: ${tensor.checksums.length} checksums are not one for each block`;
  }
}

/** Tensors are contiguous, vectors first, and the last one ends the file. */
function* placeProblems({ tensors, files }: Manifest, file: string): Generator<string> {
  const { bytes = 0, headerBytes = 0 } = files[file] ?? {};
  const inFile = [...tensors.values()].filter((tensor) => tensor.file === file);
  inFile.sort((a, b) => a.offset - b.offset);
  let end = headerBytes;
  let matrices = 0;
  for (const tensor of inFile) {
    const isVector = tensor.shape.length === 1;
    const place = alignUp(end, isVector ? vectorAlignment : sectorBytes);
    if (tensor.offset !== place || (isVector && matrices > 0)) {
      yield `tensors: ${tensor.name} is not where it belongs, at byte ${place} of ${file}`;
    }
    if (!isVector) matrices++;
    end = place + rowsOf(tensor).rows * rowsOf(tensor).rowBytes;
  }
  if (alignUp(end, sectorBytes) !== bytes) {
    yield `files: ${file}: ${bytes} bytes are not the ${alignUp(end, sectorBytes)} of its tensors`;
  }
}
