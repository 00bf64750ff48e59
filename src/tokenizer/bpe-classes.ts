/**
 * Supplies what vocab.json and merges.txt do not define: how text is normalized and split, and which tokens
 * have a role. The tokenizer class defines it; tokenizer_config.json names the class, or it follows from
 * the model's type. The pipelines and the choice of class are those of transformers 5.
 */

import { brief } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import type { Component } from './tokenizer-json.ts';

type Json = Readonly<Record<string, unknown>>;

/** The tokenizers of one class. */
export interface BpeClass {
  readonly normalizer: Component | null;
  readonly preTokenizer: (addPrefixSpace: boolean) => Component;
  /** Contents of tokens with a role, if the files name none. */
  readonly roles: Readonly<Record<string, string>>;
  /** Whether the tokens with a role lose their flags, as if the files gave only their text. */
  readonly plainRoles?: boolean;
  /** Whether every text is enclosed by the tokens `cls_token` and `sep_token`. */
  readonly enclosed?: boolean;
}

const endOfText = '<|endoftext|>';
const gpt2Roles = { bos_token: endOfText, eos_token: endOfText, unk_token: endOfText };

const byteLevel = (addPrefixSpace: boolean, useRegex = true): Component => ({
  type: 'ByteLevel',
  add_prefix_space: addPrefixSpace,
  trim_offsets: true,
  use_regex: useRegex,
});

/** The pre-tokenizer of Qwen 2. */
const qwen2Words =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" +
  '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const gpt2: BpeClass = {
  normalizer: null,
  preTokenizer: (addPrefixSpace) => byteLevel(addPrefixSpace),
  roles: gpt2Roles,
};

const classes: ReadonlyMap<string, BpeClass> = new Map([
  ['GPT2Tokenizer', gpt2],
  ['CodeGenTokenizer', gpt2],
  [
    'GPTNeoXTokenizer',
    { ...gpt2, normalizer: { type: 'NFC' }, roles: { ...gpt2Roles, pad_token: '<|padding|>' } },
  ],
  [
    'Qwen2Tokenizer',
    {
      normalizer: { type: 'NFC' },
      preTokenizer: (addPrefixSpace) => ({
        type: 'Sequence',
        pretokenizers: [
          {
            type: 'Split',
            pattern: { Regex: qwen2Words },
            behavior: 'Isolated',
            invert: false,
          },
          byteLevel(addPrefixSpace, false),
        ],
      }),
      roles: { eos_token: endOfText, unk_token: endOfText, pad_token: endOfText },
      plainRoles: true,
    },
  ],
  [
    'CohereTokenizer',
    {
      normalizer: { type: 'NFC' },
      preTokenizer: (addPrefixSpace) => ({
        type: 'Sequence',
        pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(addPrefixSpace)],
      }),
      roles: {
        bos_token: '<BOS_TOKEN>',
        eos_token: '<|END_OF_TURN_TOKEN|>',
        unk_token: '<UNK>',
        sep_token: '<SEP>',
        pad_token: '<PAD>',
        cls_token: '<CLS>',
        mask_token: '<MASK_TOKEN>',
      },
    },
  ],
  [
    'RobertaTokenizer',
    {
      ...gpt2,
      roles: {
        bos_token: '<s>',
        eos_token: '</s>',
        unk_token: '<unk>',
        sep_token: '</s>',
        pad_token: '<pad>',
        cls_token: '<s>',
        mask_token: '<mask>',
      },
      enclosed: true,
    },
  ],
]);

/** The class that reads only tokenizer.json. */
const backend = 'TokenizersBackend';
const otherNamesOfBackend = ['PreTrainedTokenizer', 'PythonBackend'];

/** Model types that have a class of their own. */
const classOfModel: ReadonlyMap<string, string> = new Map([
  ...['opt', 'phi', 'gpt2', 'gptj', 'starcoder2'].map((type) => [type, 'GPT2Tokenizer'] as const),
  ...['qwen2', 'qwen3', 'qwen2_moe', 'qwen3_moe'].map((type) => [type, 'Qwen2Tokenizer'] as const),
  ...['gpt_neox', 'mpt', 'olmo', 'olmoe'].map((type) => [type, 'GPTNeoXTokenizer'] as const),
  ...['cohere', 'cohere2'].map((type) => [type, 'CohereTokenizer'] as const),
  ['mistral', backend],
  ['nemotron', backend],
  ['persimmon', backend],
  ['stablelm', backend],
]);
/** Model types whose own class takes precedence, since published checkpoints often name a wrong one. */
const trustedModels = ['qwen2', 'nemotron'];

export const gpt2Class = gpt2;

/**
 * The class for vocab.json and merges.txt.
 * @param tokenizerConfig tokenizer_config.json
 * @param modelConfig config.json
 * @throws InputError that names the class when it is unknown or does not read these files
 */
export function bpeClassOf(
  tokenizerConfig: Json | undefined,
  modelConfig: Json | undefined,
  file: string,
): BpeClass {
  const named = tokenizerConfig?.tokenizer_class ?? modelConfig?.tokenizer_class;
  const modelType = modelConfig?.model_type;
  const name = chosenName(
    typeof named === 'string' ? named.replace(/Fast$/, '') : undefined,
    typeof modelType === 'string' ? modelType : '',
  );
  const found = classes.get(name);
  if (found !== undefined) return found;
  const about = typeof modelType === 'string' ? ` for model_type '${modelType}'` : '';
  const what =
    named === undefined
      ? `no 'tokenizer_class' says how text is split into words${about}`
      : `the tokenizer_class ${brief(named)}${about} does not read vocab.json and merges.txt, or is not supported`;
  throw new InputError(
    what,
    { file },
    `Supported without tokenizer.json: ${[...classes.keys()].join(', ')}. Otherwise add a tokenizer.json; ` +
      'AutoTokenizer.from_pretrained(directory).save_pretrained(directory) of transformers writes one',
  );
}

function chosenName(named: string | undefined, modelType: string): string {
  const own = classOfModel.get(modelType);
  if (named === undefined) return own ?? backend;
  if (own === undefined || own === named) return named;
  if (trustedModels.includes(modelType)) return own;
  return own === backend || otherNamesOfBackend.includes(named) ? backend : named;
}
