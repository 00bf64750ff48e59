/** The architectures of GGUF files, one line each. */

import { InputError } from '../../errors.ts';
import { baichuan } from './baichuan.ts';
import { bitnet, bitnetCpp } from './bitnet.ts';
import { cohere2, commandR } from './cohere.ts';
import { deepseek2 } from './deepseek.ts';
import { ernie45moe } from './ernie-moe.ts';
import { falcon } from './falcon.ts';
import { gemma, gemma2, gemma3 } from './gemma.ts';
import { glm4moe } from './glm-moe.ts';
import { bloom, gpt2, gptneox, mpt, starcoder2 } from './gpt.ts';
import { gptOss } from './gpt-oss.ts';
import { granite, minicpm } from './granite.ts';
import {
  chatglm,
  ernie45,
  exaone,
  exaone4,
  glm4,
  hunyuanDense,
  internlm2,
  mistral3,
  seedOss,
  smollm3,
} from './kin.ts';
import { arcee, llama, qwen2, qwen2vl, qwen3, qwen3vl } from './llama.ts';
import { granitemoe, mixtral, olmoe, phimoe } from './mixtures.ts';
import { nemotron } from './nemotron.ts';
import { olmo, olmo2 } from './olmo.ts';
import { phi2 } from './phi2.ts';
import { phi3 } from './phi3.ts';
import { qwen2moe, qwen3moe } from './qwen-moe.ts';
import { smallthinker } from './smallthinker.ts';
import type { GgufArchitecture, GgufFacts, GgufTranslation } from './translation.ts';

const llamaOrMixtral: GgufArchitecture = {
  name: llama.name,
  translate: (facts) => {
    const experts = facts.metadata.get('llama.expert_count') ?? 0;
    return (experts === 0 ? llama : mixtral).translate(facts);
  },
};

const architectures: readonly GgufArchitecture[] = [
  llamaOrMixtral,
  qwen2,
  qwen2vl,
  qwen2moe,
  qwen3,
  qwen3vl,
  qwen3moe,
  falcon,
  phi2,
  nemotron,
  arcee,
  olmoe,
  phimoe,
  deepseek2,
  smallthinker,
  granitemoe,
  gptOss,
  gemma,
  gemma2,
  gemma3,
  phi3,
  smollm3,
  olmo,
  olmo2,
  granite,
  minicpm,
  gpt2,
  gptneox,
  starcoder2,
  commandR,
  cohere2,
  glm4,
  glm4moe,
  exaone,
  exaone4,
  internlm2,
  bloom,
  mpt,
  seedOss,
  ernie45,
  ernie45moe,
  hunyuanDense,
  bitnet,
  baichuan,
  chatglm,
  mistral3,
];

/** Values of `general.architecture` that can be converted. */
export const supportedGgufArchitectures = architectures.map(({ name }) => name);

/**
 * The translation of a file, by its `general.architecture`.
 * @throws InputError that names an unsupported architecture and lists the supported ones
 */
export function translateGguf(facts: GgufFacts): GgufTranslation {
  const name = facts.metadata.get('general.architecture');
  const architecture = [...architectures, ...bitnetCpp].find((known) => known.name === name);
  if (architecture === undefined) {
    throw new InputError(
      typeof name === 'string'
        ? `the architecture '${name}' is not supported`
        : 'the metadata has no general.architecture',
      { file: facts.file },
      `Supported in GGUF: ${supportedGgufArchitectures.join(', ')}`,
    );
  }
  return architecture.translate(facts);
}
