/** What is done to a checkpoint before it is converted: its flags, and what is said of it. */

import { Option } from 'commander';
import type { AdapterReport } from '../checkpoint/lora/merged-source.ts';
import type { ActivationChange, Adaptation } from '../convert/adapted-checkpoint.ts';
import { activationConfigNames } from '../models/config.ts';
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
    'activation of the FFN, whatever checkpoint and adapters say',
  ).choices(activationConfigNames);
}

export function adaptationOf({ lora, hiddenAct }: AdaptationFlags): Adaptation {
  return {
    ...(lora === undefined ? {} : { lora }),
    ...(hiddenAct === undefined ? {} : { hiddenAct }),
  };
}

/** One line for each adapter, and one about the activation, if it is another one. */
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
    const done = [
      ...(updates === 0 ? [] : [`${updates} matrices updated (rank ${rank})`]),
      ...(replaced === 0 ? [] : [`${replaced} tensors replaced`]),
    ];
    const of = base === null ? '' : `, made for ${base}`;
    return [
      `merged ${dir}${of}: ${done.join(', ')}`,
      ...(passedOver.length === 0
        ? []
        : [`${dir} also targets what the checkpoint does not have: ${passedOver.join(', ')}`]),
    ];
  });
  if (activation === null) return lines;
  const { from, to, askedBy } = activation;
  const instead = from === null || from === to ? '' : ` instead of ${from}`;
  const by = askedBy === null ? '--hidden-act' : askedBy;
  return [...lines, `activation ${to}${instead}, as ${by} asks`];
}
