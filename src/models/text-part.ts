/**
 * Models of text and images whose text part is a complete language model: the configuration of that part,
 * and the names of its tensors. Images are not supported. Of the three positions of such a rotary embedding
 * (time, height, width), those of text are equal, so it equals the usual one.
 */

import { isJsonObject } from '../checkpoint/json-file.ts';

type Json = Readonly<Record<string, unknown>>;

/** The `model_type` of a part as a separate model, and defaults for its fields. */
interface TextFamily {
  readonly modelType: string;
  readonly defaults?: Json;
}

/** By the `model_type` of the whole model: its supported parts. */
const wholes: Readonly<Record<string, Readonly<Record<string, TextFamily>>>> = {
  gemma3: {
    gemma3_text: {
      modelType: 'gemma3_text',
      defaults: {
        vocab_size: 262_208,
        num_attention_heads: 8,
        num_key_value_heads: 4,
        head_dim: 256,
      },
    },
  },
  mistral3: {
    mistral: { modelType: 'mistral' },
    ministral3: { modelType: 'ministral3' },
  },
  qwen2_5_vl: {
    qwen2_5_vl_text: { modelType: 'qwen2' },
    // In released files its fields are among those of the whole model.
    qwen2_5_vl: { modelType: 'qwen2' },
  },
  qwen3_vl: { qwen3_vl_text: { modelType: 'qwen3' } },
};

/** Values of `model_type` whose text part is supported. */
export const wholeModelTypes: readonly string[] = Object.keys(wholes);

/** Fields of the whole model that apply to the text part if it does not have them. */
const shared = [
  'bos_token_id',
  'eos_token_id',
  'tie_word_embeddings',
  'quantization_config',
  'torch_dtype',
  'dtype',
] as const;

/** The configuration of the text part, if the model is a supported multimodal one; else null. */
export function textPart(config: Json): Json | null {
  const families = Object.hasOwn(wholes, String(config.model_type))
    ? wholes[String(config.model_type)]
    : undefined;
  if (families === undefined) return null;
  const { text_config: inner, vision_config: _, ...flat } = config;
  const own = isJsonObject(inner) ? inner : flat;
  const family = families[String(own.model_type ?? Object.keys(families)[0])];
  if (family === undefined) return null;
  const outer = Object.fromEntries(
    shared.flatMap((key) => (config[key] === undefined ? [] : [[key, config[key]]])),
  );
  const text = { ...family.defaults, ...outer, ...own, model_type: family.modelType };
  return withPlainRotary(text);
}

/** Replaces the three positions by one. */
function withPlainRotary(config: Json): Json {
  const plain = (key: string) => {
    const rope = config[key];
    if (!isJsonObject(rope) || rope.mrope_section === undefined) return {};
    const { mrope_section: _section, mrope_interleaved: _interleaved, ...rest } = rope;
    const told = { ...rest, type: 'default', rope_type: 'default' };
    return { [key]: rope.rope_type === 'default' || isMrope(rope) ? told : rest };
  };
  return { ...config, ...plain('rope_scaling'), ...plain('rope_parameters') };
}

function isMrope({ type, rope_type: ropeType }: Json): boolean {
  return (ropeType ?? type) === 'mrope';
}

/** The name that a tensor of the whole model has in a text-only model. */
export function textName(name: string): string {
  return name
    .replace(/^model\.language_model\./, 'model.')
    .replace(/^language_model\.(model|lm_head)\./, '$1.');
}
