/** The families, one line each. */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { arcee } from './arcee.ts';
import { bamboo } from './bamboo.ts';
import { activationKeyOf } from './config.ts';
import { deepseekV2 } from './deepseek-v2.ts';
import { falcon } from './falcon.ts';
import { gptOss } from './gpt-oss.ts';
import { granitemoe } from './granitemoe.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { mixtral } from './mixtral.ts';
import { nemotron } from './nemotron.ts';
import { olmoe } from './olmoe.ts';
import { opt } from './opt.ts';
import { persimmon } from './persimmon.ts';
import { phi } from './phi.ts';
import { phimoe } from './phimoe.ts';
import { qwen2 } from './qwen2.ts';
import { qwen2Moe } from './qwen2-moe.ts';
import { qwen3 } from './qwen3.ts';
import { qwen3Moe } from './qwen3-moe.ts';
import type { CheckpointFacts, Family, ModelRecipe } from './spec.ts';
import { stablelm } from './stablelm.ts';

const families: readonly Family[] = [
  arcee,
  bamboo,
  deepseekV2,
  falcon,
  gptOss,
  granitemoe,
  llama,
  mistral,
  mixtral,
  nemotron,
  olmoe,
  opt,
  persimmon,
  phi,
  phimoe,
  qwen2,
  qwen2Moe,
  qwen3,
  qwen3Moe,
  stablelm,
];

/** Values of `model_type` that can be converted. */
export const supportedModelTypes = families.flatMap((family) => family.modelTypes);

/**
 * The recipe of a checkpoint, by its config's `model_type`.
 * @throws InputError that names an unsupported architecture and lists the supported ones
 */
export function recipeOf(facts: CheckpointFacts): ModelRecipe {
  const modelType = facts.config.model_type;
  const family = familyOf(facts.config);
  if (family === undefined) {
    const found =
      typeof modelType === 'string'
        ? `model_type '${modelType}' is not supported`
        : 'no model_type';
    throw new InputError(
      found,
      { file: facts.configFile },
      `Supported architectures: ${supportedModelTypes.join(', ')}`,
    );
  }
  refuseTwoTruths(facts);
  return family.recipe(facts);
}

/** The field of `config` that names the activation of FFNs. */
export function activationKey(config: CheckpointFacts['config']): string {
  const keys = familyOf(config)?.activationKeys ?? ['hidden_act'];
  return activationKeyOf({ config, file: '' }, keys);
}

function familyOf({ model_type: modelType }: CheckpointFacts['config']): Family | undefined {
  return families.find(({ modelTypes }) => modelTypes.some((type) => type === modelType));
}

/** @throws InputError for parts of a configuration that would say again, otherwise, what its fields say */
function refuseTwoTruths({ config, configFile: file }: CheckpointFacts): void {
  for (const key of ['per_layer_config', 'text_config']) {
    const part = config[key];
    if (!isJsonObject(part) || Object.keys(part).length === 0) continue;
    throw new InputError(
      `'${key}' overrides other fields of the configuration, which is not supported`,
      {
        file,
      },
    );
  }
}
