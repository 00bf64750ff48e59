/** The side files of a GGUF file, made from its metadata. */

import type { GgufMetadata } from '../checkpoint/gguf/metadata.ts';
import { type GgufTokenizer, tokenizerFromGguf } from '../tokenizer/from-gguf.ts';
import { pipelineTokenizer } from '../tokenizer/tokenizer.ts';
import { type SideContent, type SideFiles, sideContent } from './side-content.ts';
import type { Config, TokenSpec } from './side-file-maker.ts';

/**
 * The side files of the GGUF file with this metadata, and what they say about tokens.
 * @throws InputError when the file has no usable tokenizer
 */
export function ggufSideContent(
  metadata: GgufMetadata,
  file: string,
  config: Config,
  spec: TokenSpec,
): SideContent {
  return completeSideFiles(tokenizerFromGguf(metadata, file), file, config, spec);
}

/** The same with the tokenizer already made. */
export function completeSideFiles(
  made: GgufTokenizer,
  file: string,
  config: Config,
  spec: TokenSpec,
): SideContent {
  const { json, config: tokenizerConfig, tables } = made;
  const built = pipelineTokenizer(
    { json, file, files: { config: tokenizerConfig }, ...(tables && { ready: tables }) },
    { ...spec, eosIds: made.eosIds },
  );
  // Other programs use only the end tokens that the file names.
  const eosIds = [...built.tokenizer.eosIds];
  return sideContent(sideFiles(config, made, eosIds), built, { ...spec, eosIds });
}

function sideFiles(
  config: Config,
  { bytes, config: tokenizerConfig }: GgufTokenizer,
  eosIds: readonly number[],
): SideFiles {
  const file = (value: unknown, indent?: number) =>
    Buffer.from(JSON.stringify(value, null, indent));
  return new Map([
    ['config.json', file(config, 2)],
    ['generation_config.json', file(eosIds.length === 0 ? {} : { eos_token_id: eosIds }, 2)],
    ['tokenizer.json', bytes()],
    ['tokenizer_config.json', file(tokenizerConfig, 2)],
  ]);
}
