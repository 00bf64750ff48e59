/** A checkpoint as it is asked for: with adapters merged into it, and with another activation. */

import { brief } from '../checkpoint/json-file.ts';
import { type Adapter, openAdapter } from '../checkpoint/lora/adapter.ts';
import type { ActivationRequest } from '../checkpoint/lora/adapter-config.ts';
import { type AdapterReport, mergeAdapters } from '../checkpoint/lora/merged-source.ts';
import { InputError, type Place } from '../errors.ts';
import { activationConfigNames } from '../models/config.ts';
import { activationKey, recipeOf } from '../models/index.ts';
import { type Checkpoint, openCheckpoint } from './open-checkpoint.ts';

/** What is to be done to a checkpoint before it is converted. */
export interface Adaptation {
  /** Directories of LoRA adapters; they are merged in this order. */
  readonly lora?: readonly string[];
  /** The activation of FFNs, whatever the checkpoint and the adapters say. */
  readonly hiddenAct?: string;
}

/** An activation that is not the checkpoint's own. */
export interface ActivationChange {
  readonly from: string | null;
  readonly to: string;
  /** The adapter's directory that asks for it; null: it was asked for by hand. */
  readonly askedBy: string | null;
}

export interface AdaptedCheckpoint extends Checkpoint {
  readonly adapters: readonly AdapterReport[];
  readonly activation: ActivationChange | null;
}

type Config = Checkpoint['config'];

/**
 * Opens a checkpoint and what is to be merged into it; close its source when done.
 * @throws InputError when one of them cannot be used, or they do not fit each other
 */
export async function openAdapted(
  path: string,
  adaptation: Adaptation,
): Promise<AdaptedCheckpoint> {
  return adaptCheckpoint(await openCheckpoint(path), adaptation);
}

/**
 * Merges adapters into an opened checkpoint, which belongs to the result, and is closed when that fails.
 * @throws InputError when an adapter cannot be used, or does not fit
 */
export async function adaptCheckpoint(
  checkpoint: Checkpoint,
  { lora = [], hiddenAct }: Adaptation,
): Promise<AdaptedCheckpoint> {
  if (lora.length === 0 && hiddenAct === undefined) {
    return { ...checkpoint, adapters: [], activation: null };
  }
  const opened: Pick<Adapter, 'close'>[] = [checkpoint.source];
  try {
    const { config, configFile, source } = checkpoint;
    const adapters: Adapter[] = [];
    for (const dir of lora) {
      const adapter = await openAdapter(dir);
      opened.push(adapter);
      adapters.push(adapter);
    }
    const recipe = recipeOf({ config, configFile, tensorNames: new Set(source.tensors.keys()) });
    const merged = mergeAdapters(source, recipe, adapters);
    const { fields, change } = activationOf(config, adapters, hiddenAct);
    const adapted: Config = {
      ...config,
      ...fields,
      ...(merged.untied ? { tie_word_embeddings: false } : {}),
    };
    return {
      ...checkpoint,
      config: adapted,
      source: merged,
      workBytes: merged.workBytes,
      adapters: merged.adapters,
      activation: change,
      readSideFiles: async (spec) => {
        const files = new Map(await checkpoint.readSideFiles(spec));
        return files.set('config.json', Buffer.from(`${JSON.stringify(adapted, null, 2)}\n`));
      },
    };
  } catch (error) {
    await Promise.all(opened.map((one) => one.close()));
    throw error;
  }
}

/** The activation that is asked for, as fields of the configuration. */
function activationOf(
  config: Config,
  adapters: readonly Adapter[],
  hiddenAct: string | undefined,
): { readonly fields: Config; readonly change: ActivationChange | null } {
  if (hiddenAct !== undefined) checkActivation(hiddenAct, '--hidden-act');
  const key = activationKey(config);
  const request =
    hiddenAct === undefined ? requestOf(adapters) : { askedBy: null, request: { hiddenAct } };
  if (request === null) return { fields: {}, change: null };
  const { askedBy } = request;
  const { hiddenAct: to, threshold }: ActivationRequest = request.request;
  const from = typeof config[key] === 'string' ? config[key] : null;
  return {
    fields: { [key]: to, ...(threshold === undefined ? {} : { hidden_act_param: threshold }) },
    change: { from, to, askedBy },
  };
}

/** What the adapters ask for, which must be one thing. */
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
      'Decide with --hidden-act',
    );
  }
  return first ?? null;
}

/** @throws InputError when no activation has this name */
function checkActivation(name: string, what: string, place: Place = {}): void {
  if (activationConfigNames.includes(name)) return;
  throw new InputError(
    `${what} ${brief(name)} is not supported`,
    place,
    `Supported: ${activationConfigNames.join(', ')}`,
  );
}
