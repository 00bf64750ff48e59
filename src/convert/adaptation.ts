/** Changes to a checkpoint before it is converted; merging.ts merges adapters into it. */

import { brief } from '../checkpoint/json-file.ts';
import type { Adapter } from '../checkpoint/lora/adapter.ts';
import type { ActivationRequest } from '../checkpoint/lora/adapter-config.ts';
import { type ErrorPlace, InputError } from '../errors.ts';
import { activationConfigNames } from '../models/config.ts';
import { activationKey } from '../models/index.ts';
import type { CheckpointFacts, ModelRecipe } from '../models/spec.ts';
import type { Checkpoint } from './checkpoint.ts';

/** Changes to make to a checkpoint before it is converted. */
export interface Adaptation {
  /** Directories of LoRA adapters; they are merged in this order. */
  readonly lora?: readonly string[];
  /** The activation of FFNs, whatever the checkpoint and the adapters say. */
  readonly hiddenAct?: string;
}

/** An activation that replaces the checkpoint's own. */
export interface ActivationChange {
  readonly from: string | null;
  readonly to: string;
  /** Directory of the adapter that asks for it; null: the user asked for it. */
  readonly askedBy: string | null;
}

/** The facts about a checkpoint, and the recipe that follows from them. */
export interface Described {
  readonly facts: CheckpointFacts;
  readonly recipe: ModelRecipe;
}

type Config = Checkpoint['config'];

/** The configuration of a model whose head is separate from the embedding. */
export function untied(config: Config): Config {
  return { ...config, tie_word_embeddings: false };
}

/** `checkpoint` with another configuration, in its config.json as well. */
export function withConfig(checkpoint: Checkpoint, config: Config): Checkpoint {
  return {
    ...checkpoint,
    config,
    readSideFiles: async (spec) => {
      const side = await checkpoint.readSideFiles(spec);
      const file = Buffer.from(`${JSON.stringify(config, null, 2)}\n`);
      return { ...side, files: new Map(side.files).set('config.json', file) };
    },
  };
}

/**
 * The configuration with the requested activation: the user's, or else an adapter's.
 * @throws InputError when it is unknown, or adapters ask for different ones
 */
export function withActivation(
  config: Config,
  adapters: readonly Adapter[],
  hiddenAct: string | undefined,
): { readonly config: Config; readonly change: ActivationChange | null } {
  if (hiddenAct !== undefined) checkActivation(hiddenAct, '--hidden-act');
  const key = activationKey(config);
  const request =
    hiddenAct === undefined ? requestOf(adapters) : { askedBy: null, request: { hiddenAct } };
  if (request === null) return { config, change: null };
  const { askedBy } = request;
  const { hiddenAct: to, threshold }: ActivationRequest = request.request;
  const from = typeof config[key] === 'string' ? config[key] : null;
  const param = threshold === undefined ? {} : { hidden_act_param: threshold };
  return { config: { ...config, [key]: to, ...param }, change: { from, to, askedBy } };
}

/** The activation that the adapters ask for; all must ask for the same one. */
function requestOf(
  adapters: readonly Adapter[],
): { readonly askedBy: string; readonly request: ActivationRequest } | null {
  const asking = adapters.flatMap(({ dir, config: { activation, file } }) => {
    if (activation === null) return [];
    checkActivation(activation.hiddenAct, "'flashllm.hidden_act'", { file });
    return [{ askedBy: dir, file, request: activation }];
  });
  const [first, ...others] = asking;
  const same = ({ request: { hiddenAct, threshold } }: (typeof asking)[number]) =>
    hiddenAct === first?.request.hiddenAct && threshold === first.request.threshold;
  const other = others.find((one) => !same(one));
  if (first !== undefined && other !== undefined) {
    throw new InputError(
      `asks for the activation ${brief(other.request.hiddenAct)}, ${first.askedBy} for ${brief(first.request.hiddenAct)}${
        other.request.hiddenAct === first.request.hiddenAct ? ' with another threshold' : ''
      }`,
      { file: other.file },
      'Choose one with --hidden-act',
    );
  }
  return first ?? null;
}

/** @throws InputError when no activation has this name */
function checkActivation(name: string, what: string, place: ErrorPlace = {}): void {
  if (activationConfigNames.includes(name)) return;
  throw new InputError(
    `${what} ${brief(name)} is not supported`,
    place,
    `Supported: ${activationConfigNames.join(', ')}`,
  );
}
