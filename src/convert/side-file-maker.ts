/** Where the side files of a GGUF file are made. */

import type { GgufMetadata } from '../checkpoint/gguf/metadata.ts';
import type { ModelSpec } from '../models/spec.ts';
import type { SideContent } from './side-content.ts';

/** The configuration as the fields of a config.json. */
export type Config = Readonly<Record<string, unknown>>;

/** What the side files depend on in a model's spec. */
export type TokenSpec = Pick<ModelSpec, 'bosId' | 'eosIds' | 'vocabSize'>;

/**
 * Takes the metadata of a file, and may begin with it. The function that it returns completes the side files.
 * @throws InputError in that function, when the file has no usable tokenizer
 */
export type SideFileMaker = (
  metadata: GgufMetadata,
  file: string,
) => (config: Config, spec: TokenSpec) => Promise<SideContent>;
