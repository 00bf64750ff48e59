/** The families, one line each. */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { arcee } from './arcee.ts';
import { baichuan } from './baichuan.ts';
import { bamboo } from './bamboo.ts';
import { bitnet } from './bitnet.ts';
import { bloom } from './bloom.ts';
import { cohere } from './cohere.ts';
import { cohere2 } from './cohere2.ts';
import { activationKeyOf } from './config.ts';
import { deepseekV2 } from './deepseek-v2.ts';
import { deepseekV3 } from './deepseek-v3.ts';
import { ernie45, ernie45Moe } from './ernie4-5.ts';
import { exaone } from './exaone.ts';
import { exaone4 } from './exaone4.ts';
import { falcon } from './falcon.ts';
import { gemma } from './gemma.ts';
import { gemma2 } from './gemma2.ts';
import { gemma3 } from './gemma3.ts';
import { glm } from './glm.ts';
import { glm4 } from './glm4.ts';
import { glm4Moe } from './glm4-moe.ts';
import { gptNeox } from './gpt-neox.ts';
import { gptOss } from './gpt-oss.ts';
import { gpt2 } from './gpt2.ts';
import { gptj } from './gptj.ts';
import { granite } from './granite.ts';
import { granitemoe, granitemoeShared } from './granitemoe.ts';
import { hunyuan } from './hunyuan.ts';
import { internlm2 } from './internlm2.ts';
import { internlm3 } from './internlm3.ts';
import { llama } from './llama.ts';
import { minicpm } from './minicpm.ts';
import { ministral } from './ministral.ts';
import { ministral3 } from './ministral3.ts';
import { mistral } from './mistral.ts';
import { mixtral } from './mixtral.ts';
import { mpt } from './mpt.ts';
import { nanochat } from './nanochat.ts';
import { nearestFamily } from './nearest.ts';
import { nemotron } from './nemotron.ts';
import { olmo } from './olmo.ts';
import { olmo2 } from './olmo2.ts';
import { olmo3 } from './olmo3.ts';
import { olmoe } from './olmoe.ts';
import { opt } from './opt.ts';
import { persimmon } from './persimmon.ts';
import { phi } from './phi.ts';
import { phi3 } from './phi3.ts';
import { phimoe } from './phimoe.ts';
import { qwen2 } from './qwen2.ts';
import { qwen2Moe } from './qwen2-moe.ts';
import { qwen3 } from './qwen3.ts';
import { qwen3Moe } from './qwen3-moe.ts';
import { seedOss } from './seed-oss.ts';
import { smallthinker } from './smallthinker.ts';
import { smollm3 } from './smollm3.ts';
import type { CheckpointFacts, Family, ModelRecipe } from './spec.ts';
import { stablelm } from './stablelm.ts';
import { starcoder2 } from './starcoder2.ts';
import { wholeModelTypes } from './text-part.ts';

const families: readonly Family[] = [
  arcee,
  baichuan,
  bamboo,
  bitnet,
  bloom,
  cohere,
  cohere2,
  ernie45,
  ernie45Moe,
  exaone,
  exaone4,
  deepseekV2,
  deepseekV3,
  gptOss,
  granitemoe,
  granitemoeShared,
  mixtral,
  olmoe,
  phimoe,
  falcon,
  gemma,
  gemma2,
  gemma3,
  glm,
  glm4,
  glm4Moe,
  gpt2,
  gptj,
  gptNeox,
  granite,
  hunyuan,
  internlm2,
  internlm3,
  llama,
  minicpm,
  ministral,
  ministral3,
  mistral,
  mpt,
  nanochat,
  nemotron,
  olmo,
  olmo2,
  olmo3,
  opt,
  persimmon,
  phi,
  phi3,
  qwen2,
  qwen2Moe,
  qwen3,
  qwen3Moe,
  seedOss,
  smallthinker,
  smollm3,
  stablelm,
  starcoder2,
];

/** Values of `model_type` that can be converted. */
export const supportedModelTypes = [
  ...families.flatMap((family) => family.modelTypes),
  ...wholeModelTypes,
];

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
    const nearest = nearestFamily(facts, families);
    throw new InputError(
      nearest === null ? found : `${found}; ${nearest}`,
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

/** @throws InputError for parts of a configuration that would override its other fields */
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
