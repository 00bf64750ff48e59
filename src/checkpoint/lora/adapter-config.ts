/**
 * `adapter_config.json` of a LoRA adapter, as the PEFT library writes it. Options that would change the
 * merged weights and are not supported are refused by name.
 */

import { join } from 'node:path';
import { InputError } from '../../errors.ts';
import { boolean, type ConfigFile, limits, positiveNumber, text } from '../../models/config.ts';
import { own } from '../../own.ts';
import { brief, isJsonObject, printable, readJsonFile } from '../json-file.ts';

export const adapterConfigFile = 'adapter_config.json';

/** A choice of modules: by names and ends of names, or by a regular expression. */
export type Modules =
  | { readonly kind: 'names'; readonly names: readonly string[] }
  | { readonly kind: 'pattern'; readonly pattern: string };

/** Ranks or alphas that differ from the adapter's own, by pattern of module names. */
export type Pattern = readonly (readonly [pattern: string, value: number])[];

/** An activation that the adapter was trained with. */
export interface ActivationRequest {
  /** As a config.json names it. */
  readonly hiddenAct: string;
  /** `hidden_act_param`: the threshold of fatrelu. */
  readonly threshold?: number;
}

export interface AdapterConfig {
  readonly file: string;
  /** The model that it was trained on, by the name it had in training. */
  readonly base: string | null;
  readonly rank: number;
  readonly alpha: number;
  /** Whether alpha is divided by the square root of the rank. */
  readonly rslora: boolean;
  readonly rankPattern: Pattern;
  readonly alphaPattern: Pattern;
  /** Modules with low-rank updates; null: not specified. */
  readonly targets: Modules | null | 'all-linear';
  readonly excluded: Modules | null;
  /** Numbers of the layers with updates; null: all. */
  readonly layers: readonly number[] | null;
  readonly layerPatterns: readonly string[];
  /** Modules that are saved as a whole. */
  readonly saved: readonly string[];
  /** Whether head and embedding stay tied. */
  readonly staysTied: boolean;
  readonly activation: ActivationRequest | null;
}

/** PEFT's defaults. */
const usualRank = 8;
const usualAlpha = 8;
/** Larger than any matrix. */
const largestRank = 65_536;

/** Fields that make an adapter something other than W + s B A, and the name of each kind. */
const variants: Readonly<Record<string, string>> = {
  use_dora: 'DoRA',
  use_qalora: 'QALoRA',
  use_bdlora: 'block-diagonal LoRA',
  arrow_config: 'Arrow routing',
  kasa_config: 'KaSA',
  monteclora_config: 'MonteCLoRA',
  velora_config: 'VeLoRA',
  alora_invocation_tokens: 'activated LoRA',
  layer_replication: 'replicated layers',
  megatron_config: 'Megatron layers',
  target_parameters: 'LoRA on parameters',
  trainable_token_indices: 'trainable tokens',
};

/** Initialisations that leave the base weights unchanged. */
const plainBeginnings: readonly unknown[] = [true, false, 'gaussian', 'eva', 'orthogonal', 'mica'];

/**
 * Reads `adapter_config.json` in the directory `dir`.
 * @throws InputError when it is missing or damaged, or the adapter cannot be merged
 */
export async function readAdapterConfig(dir: string): Promise<AdapterConfig> {
  const file = join(dir, adapterConfigFile);
  const config = await readJsonFile(file);
  if (!isJsonObject(config)) throw new InputError('is not a JSON object', { file });
  const at = { config, file };
  checkKind(at);
  const targets = modules(at, 'target_modules');
  return {
    file,
    base: printable(text(at, 'base_model_name_or_path', '')) || null,
    rank: rank(config.r ?? usualRank, 'r', file),
    alpha: alpha(config.lora_alpha ?? usualAlpha, 'lora_alpha', file),
    rslora: boolean(at, 'use_rslora', false),
    rankPattern: pattern(at, 'rank_pattern', rank),
    alphaPattern: pattern(at, 'alpha_pattern', alpha),
    targets:
      targets?.kind === 'pattern' && targets.pattern.toLowerCase() === 'all-linear'
        ? 'all-linear'
        : targets,
    excluded: modules(at, 'exclude_modules'),
    layers: layersOf(at),
    layerPatterns: names(at, 'layers_pattern'),
    saved: names(at, 'modules_to_save'),
    staysTied: boolean(at, 'ensure_weight_tying', false),
    activation: activationOf(at),
  };
}

/** Refuses every other kind of adapter, and LoRA with unsupported parts. */
function checkKind({ config, file }: ConfigFile): void {
  const type = config.peft_type;
  if (typeof type !== 'string') throw new InputError("'peft_type' is missing", { file });
  if (type !== 'LORA') {
    throw new InputError(
      `peft_type ${brief(type)} cannot be merged`,
      { file },
      'Give a LoRA adapter, or merge this one with PEFT and convert the result',
    );
  }
  const isSet = (value: unknown) =>
    Array.isArray(value) ? value.length > 0 : isJsonObject(value) || Boolean(value);
  const unknown = Object.keys(config).filter(
    (key) => key.startsWith('use_') && key !== 'use_rslora',
  );
  for (const field of new Set([...Object.keys(variants), ...unknown])) {
    if (!isSet(config[field])) continue;
    const name = own(variants, field);
    throw new InputError(
      `'${printable(field)}' is set${name === undefined ? '' : `: ${name}`}, which is not supported`,
      { file },
      'Merge the adapter with PEFT (merge_and_unload) and convert the result',
    );
  }
  const beginning = config.init_lora_weights ?? true;
  if (!plainBeginnings.includes(beginning)) {
    throw new InputError(
      `'init_lora_weights' is ${brief(beginning)}: the adapter was trained on base weights that this method had changed, so it does not fit the original base model`,
      { file },
      'Save it with path_initial_model_for_weight_conversion; or convert the changed base, and set init_lora_weights to true',
    );
  }
}

function rank(value: unknown, field: string, file: string): number {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= largestRank) {
    return Number(value);
  }
  throw new InputError(`'${field}' must be an integer from 1 to ${largestRank}: ${brief(value)}`, {
    file,
  });
}

function alpha(value: unknown, field: string, file: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw new InputError(`'${field}' must be a number of at least 0: ${brief(value)}`, { file });
}

function pattern(
  { config, file }: ConfigFile,
  key: string,
  check: (value: unknown, field: string, file: string) => number,
): Pattern {
  const value = config[key] ?? {};
  if (!isJsonObject(value)) {
    throw new InputError(`'${key}' is not an object of numbers: ${brief(value)}`, { file });
  }
  return Object.entries(value).map(([name, number]) => [name, check(number, key, file)]);
}

function names({ config, file }: ConfigFile, key: string): readonly string[] {
  const value = config[key] ?? [];
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.every((name) => typeof name === 'string')) return list.filter((name) => name !== '');
  throw new InputError(`'${key}' is not a list of names: ${brief(value)}`, { file });
}

function modules(at: ConfigFile, key: string): Modules | null {
  const value = at.config[key] ?? null;
  if (value === null || value === '') return null;
  if (typeof value === 'string') return { kind: 'pattern', pattern: value };
  return { kind: 'names', names: names(at, key) };
}

function layersOf({ config, file }: ConfigFile): readonly number[] | null {
  const key = 'layers_to_transform';
  const value = config[key] ?? [];
  const layers: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isLayer = (layer: unknown) =>
    Number.isInteger(layer) && Number(layer) >= 0 && Number(layer) < limits.layers;
  if (!layers.every(isLayer)) {
    throw new InputError(`'${key}' is not a list of layer indexes: ${brief(value)}`, { file });
  }
  return layers.length === 0 ? null : layers.map(Number);
}

/** Our own extension: an object `flashllm`, which the training script of `scripts/relufy` writes. */
function activationOf({ config, file }: ConfigFile): ActivationRequest | null {
  const request = config.flashllm ?? null;
  if (request === null) return null;
  if (!isJsonObject(request)) {
    throw new InputError(`'flashllm' is not an object: ${brief(request)}`, { file });
  }
  const unknown = Object.keys(request).find((key) => !/^hidden_act(_param)?$/.test(key));
  if (unknown !== undefined) {
    throw new InputError(`'flashllm' has an unknown field ${brief(unknown)}`, { file });
  }
  const at = { config: request, file };
  const hiddenAct = text(at, 'hidden_act', '');
  if (hiddenAct === '') return null;
  return request.hidden_act_param === undefined
    ? { hiddenAct }
    : { hiddenAct, threshold: positiveNumber(at, 'hidden_act_param') };
}
