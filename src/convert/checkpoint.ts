/** What conversion knows about a checkpoint of any format. */

import type { TensorSource } from '../checkpoint/source.ts';
import type { ModelSpec } from '../models/spec.ts';
import type { SideContent } from './side-content.ts';

/** Opens the checkpoint at a path; throws InputError when it cannot be used. */
export type OpenCheckpoint = (path: string) => Promise<Checkpoint>;

export interface Checkpoint {
  /** Name of the format, for messages. */
  readonly format: 'Hugging Face' | 'GGUF';
  /** The configuration, as the fields of a config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The file that holds the configuration, for messages. */
  readonly configFile: string;
  /** Tensors under the names that the families' recipes ask for. */
  readonly source: TensorSource;
  /**
   * The small files of the model directory. Checks that the tokenizer works.
   * @throws InputError when there is no usable tokenizer
   */
  readonly readSideFiles: (spec: ModelSpec) => Promise<SideContent>;
}
