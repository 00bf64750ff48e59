/** What conversion knows of a checkpoint, whatever its format. */

import type { TensorSource } from '../checkpoint/source.ts';
import type { ModelSpec } from '../models/spec.ts';
import type { SideContent } from './side-files.ts';

/** Opens the checkpoint at a path; throws InputError when it cannot be used. */
export type OpenCheckpoint = (path: string) => Promise<Checkpoint>;

export interface Checkpoint {
  /** For people. */
  readonly format: 'Hugging Face' | 'GGUF';
  /** The fields of a config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The file that says so, for messages. */
  readonly configFile: string;
  /** Tensors under the names that the families' recipes ask for. */
  readonly source: TensorSource;
  /**
   * The small files of the model directory; proves that the tokenizer works.
   * @throws InputError when there is no tokenizer, or none that can be used
   */
  readonly readSideFiles: (spec: ModelSpec) => Promise<SideContent>;
}
