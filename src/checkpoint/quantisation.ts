/**
 * Detects directories whose weights are quantised in an unsupported format, so that an error can name the
 * format before any tensor is used.
 */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../errors.ts';
import { ternaryMethod } from '../models/ternary-config.ts';
import { isJsonObject, printable, readJsonFile } from './json-file.ts';

type Json = Readonly<Record<string, unknown>>;

const wayOut = 'Use a GGUF file of the model, or the unquantised model';
const wayOutOfConfig = (key: string) =>
  `${wayOut}; if these weights are not quantised, remove '${key}' from config.json`;

/** The weights are quantised in an unsupported format. */
export class QuantisedError extends InputError {}

/** @throws QuantisedError when a config.json says that the weights are quantised */
export function refuseQuantised(config: Json, file: string): void {
  for (const [key, nameOf] of configKeys) {
    const method = nameOf(config[key]);
    if (method !== undefined && !readMethods.includes(method))
      throw quantised(method, file, wayOutOfConfig(key));
  }
}

/** The supported methods: see mxfp4-source.ts and ternary-source.ts. */
const readMethods: readonly string[] = ['mxfp4', ternaryMethod];

/** The fields of a config.json that describe quantisation, and the method that each of them names. */
const configKeys: readonly (readonly [string, (value: unknown) => string | undefined])[] = [
  // MLX writes the same object a second time, under the key of the others.
  ['quantization', (value) => methodOf(value, 'MLX')],
  ['quantization_config', (value) => methodOf(value, undefined)],
  ['compression_config', (value) => methodOf(value, 'compressed-tensors')],
];

/** The method that such an object names, or `otherwise`; undefined if it names none. */
function methodOf(value: unknown, otherwise: string | undefined): string | undefined {
  if (typeof value === 'string' && value !== '') return shown(value);
  if (!isJsonObject(value) || Object.keys(value).length === 0) return undefined;
  for (const key of ['quant_method', 'quant_algo', 'quant_type', 'quantization_method']) {
    const method = value[key];
    if (typeof method === 'string' && method !== '') return shown(method);
  }
  if (otherwise !== undefined) return otherwise;
  const has = (...keys: readonly string[]) => keys.some((key) => Object.hasOwn(value, key));
  if (has('load_in_4bit', '_load_in_4bit', 'load_in_8bit', '_load_in_8bit')) return 'bitsandbytes';
  if (has('w_bit', 'q_group_size', 'zero_point')) return 'AWQ';
  if (has('bits', 'wbits', 'desc_act')) return 'GPTQ or a relative';
  return 'a method that is not named';
}

const longestMethod = 40;

function shown(method: string): string {
  return printable(method.slice(0, longestMethod));
}

/** Files that quantisation tools write beside config.json, and the method that each indicates. */
const sideFiles: readonly (readonly [string, string])[] = [
  ['quantize_config.json', 'GPTQ'],
  ['quant_config.json', 'AWQ'],
  ['quantization_config.json', 'a method of its own'],
  ['hf_quant_config.json', 'ModelOpt'],
  ['quanto_qmap.json', 'quanto'],
  ['quantization_map.json', 'quanto'],
  ['qmodel.pt', 'HQQ'],
];

/** Files beside the weights that indicate a quantisation. */
export const quantisationFileNames: readonly string[] = sideFiles
  .map(([name]) => name)
  .filter((name) => name.endsWith('.json'));

/** Ends of tensor names that indicate a method, the most specific first. */
const tensorNames: readonly (readonly [RegExp, string])[] = [
  [/\.g_idx$/, 'GPTQ'],
  [/\.qzeros$/, 'GPTQ or AWQ'],
  [/\.(trellis|suh|svh)$/, 'EXL3'],
  [/\.(q_weight|q_groups|q_invperm|q_scale_max)$/, 'EXL2'],
  [/\.(SCB|absmax|quant_map|nested_absmax|quant_state\.\w+)$/, 'bitsandbytes'],
  [/\.weight_scale_inv$/, 'FP8'],
  [/\.(weight_packed|weight_zero_point|weight_shape)$/, 'compressed-tensors'],
  [/\.(codebooks|codes)$/, 'AQLM'],
  [/\.(centroids|res_centroids|indices)$/, 'VPTQ'],
  [/\.(weight\._data|weight\._scale|_data|_scale)$/, 'quanto'],
  [/\.(W_q|W_q_packed)$/, 'HQQ'],
  [/\.(dense_weights|row_offsets)$/, 'SpQR'],
  [/\.(weight_scales|weight_scale|input_scale)$/, 'scales beside its weights (FP8, BitNet, EETQ)'],
  [/\.(qweight|scales)$/, 'scales beside its weights'],
];

/**
 * The error for weights in `dir` that are quantised although config.json does not say so; call it when
 * tensors are missing or wrong.
 * @param names of the tensors, as far as they could be read
 */
export async function hiddenQuantisation(
  dir: string,
  names: Iterable<string>,
): Promise<QuantisedError | undefined> {
  const files = new Set(await readdir(dir).catch(() => []));
  for (const [name, method] of sideFiles) {
    if (!files.has(name)) continue;
    const file = join(dir, name);
    const said = name.endsWith('.json') ? await readJsonFile(file).catch(() => null) : null;
    const inner = isJsonObject(said) && isJsonObject(said.quantization) ? said.quantization : said;
    return quantised(methodOf(inner, method) ?? method, file, wayOut);
  }
  const all = [...names];
  for (const [pattern, method] of tensorNames) {
    const name = all.find((candidate) => pattern.test(candidate));
    if (name === undefined) continue;
    return new QuantisedError(
      `the weights are quantised with ${method}, by the name of ${name}: not supported`,
      { file: dir },
      wayOut,
    );
  }
  return undefined;
}

function quantised(method: string, file: string, hint: string): QuantisedError {
  return new QuantisedError(
    `the weights are quantised with ${method}: not supported`,
    { file },
    hint,
  );
}
