/** Changes to a checkpoint before its conversion: their flags, and the lines that describe them. */

import { Option } from 'commander';
import type { AdapterReport } from '../checkpoint/lora/merged-source.ts';
import type { ActivationChange, Adaptation } from '../convert/adaptation.ts';
import { InputError } from '../errors.ts';
import { activationConfigNames } from '../models/config.ts';
import { some } from '../plain-text.ts';
import { listArgument } from './options.ts';

export interface AdaptationFlags {
  readonly lora?: readonly string[];
  readonly hiddenAct?: string;
}

export function loraOption(): Option {
  return new Option(
    '--lora <dir>',
    'merge a LoRA adapter (PEFT); may be given several times',
  ).argParser(listArgument);
}

export function hiddenActOption(): Option {
  return new Option(
    '--hidden-act <name>',
    'activation function of the FFN; overrides checkpoint and adapters',
  ).choices(activationConfigNames);
}

export function adaptationOf({ lora, hiddenAct }: AdaptationFlags): Adaptation {
  return {
    ...(lora === undefined ? {} : { lora }),
    ...(hiddenAct === undefined ? {} : { hiddenAct }),
  };
}

/** @throws InputError when the flags ask for a change to a model that is already converted */
export function checkAdaptable(model: string, { lora, hiddenAct }: AdaptationFlags): void {
  if (lora === undefined && hiddenAct === undefined) return;
  throw new InputError(
    `${lora === undefined ? '--hidden-act' : '--lora'} applies to checkpoints, but this is a converted model`,
    { file: model },
    'Convert the checkpoint again',
  );
}

/** One line for each adapter, and one about the activation function if it changes. */
export function describeAdaptation({
  adapters,
  activation,
}: {
  readonly adapters: readonly AdapterReport[];
  readonly activation: ActivationChange | null;
}): readonly string[] {
  const lines = adapters.flatMap(({ dir, base, updates, ranks, replaced, passedOver }) => {
    const [least, largest] = ranks ?? [];
    const rank = least === largest ? `${least}` : `${least} to ${largest}`;
    const parts = [
      ...(updates === 0 ? [] : [`updates of rank ${rank} for ${updates} matrices`]),
      ...(replaced === 0 ? [] : [`${replaced} whole tensors`]),
    ];
    const of = base === null ? '' : `, made for ${base}`;
    return [
      `adapter ${dir}${of}: ${parts.join(', ')}`,
      ...(passedOver.length === 0
        ? []
        : [`adapter ${dir} also targets what the checkpoint does not have: ${some(passedOver)}`]),
    ];
  });
  if (activation === null) return lines;
  const { from, to, askedBy } = activation;
  const instead = from === null || from === to ? '' : ` instead of ${from}`;
  const by = askedBy === null ? '--hidden-act' : askedBy;
  return [...lines, `activation ${to}${instead}, as ${by} asks`];
}
