/** The sampling and stopping options of all commands that generate. */

import type { Command } from 'commander';
import { checkSampling, usualSampling } from '../engine/sampler.ts';
import type { SamplingOptions } from '../engine/sampling-options.ts';
import { countArgument, listArgument, numberArgument } from './options.ts';

export interface SamplingFlags {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed?: number;
  readonly stop?: string[];
  readonly ignoreEos?: boolean;
}

/** Adds the options to a command. */
export function withSamplingOptions(command: Command): Command {
  return command
    .option(
      '--temperature <t>',
      '0 takes the most likely token',
      numberArgument,
      usualSampling.temperature,
    )
    .option(
      '--top-k <k>',
      'sample from the k most likely tokens; 0: all',
      countArgument,
      usualSampling.topK,
    )
    .option(
      '--top-p <p>',
      'sample from the smallest set of most likely tokens whose probabilities add up to p',
      numberArgument,
      usualSampling.topP,
    )
    .option(
      '--min-p <p>',
      'drop tokens with less than p times the probability of the most likely one',
      numberArgument,
      0,
    )
    .option(
      '--repetition-penalty <r>',
      'values above 1 make tokens that have already occurred less likely',
      numberArgument,
      1,
    )
    .option('--seed <n>', 'the same seed gives the same text; default: random', countArgument)
    .option(
      '--stop <text>',
      'stop before this text, or at the special token with this name; may be given several times',
      listArgument,
    )
    .option('--ignore-eos', "do not stop at the model's end tokens");
}

/** The sampling options of the flags. @throws InputError when a value is out of range */
export function samplingOf(flags: SamplingFlags): SamplingOptions {
  const sampling: SamplingOptions = {
    temperature: flags.temperature,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    repetitionPenalty: flags.repetitionPenalty,
    seed: flags.seed ?? Math.floor(Math.random() * 2 ** 32),
  };
  checkSampling(sampling);
  return sampling;
}
