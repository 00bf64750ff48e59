import { Command } from 'commander';
import type { KvDType } from '../dtype.ts';
import { type GenerateResult, generate } from '../engine/generate.ts';
import type { Model } from '../engine/model.ts';
import { encodePromptParts } from '../engine/prompt.ts';
import { bestLogits, checkSampling, usualSampling } from '../engine/sampler.ts';
import type { SamplingOptions } from '../engine/sampling-options.ts';
import { InputError } from '../errors.ts';
import { roundsActivations } from '../flash/manifest.ts';
import type { PolicyName } from '../residency/store-policy.ts';
import type { Size } from '../units.ts';
import { doesNotPay } from './ffn-choice.ts';
import { interruptedExitCode, interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  exactOption,
  jsonOption,
  kvDTypeOption,
  listArgument,
  numberArgument,
  threadsOf,
  threadsOption,
  windowOption,
} from './options.ts';
import { findText, longestTokenBytes, promptParts } from './read-text.ts';
import { chooseBudget, statsTable, withModel, withSequence } from './run.ts';
import { note, noteLines, print, printJson } from './terminal.ts';

interface GenerateFlags {
  readonly prompt?: string;
  readonly promptFile?: string;
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed?: number;
  readonly stop?: string[];
  readonly ignoreEos?: boolean;
  readonly window: PolicyName;
  readonly exact?: boolean;
  readonly stats?: boolean;
  readonly json?: boolean;
}

export function generateCommand(): Command {
  return new Command('generate')
    .description('continue a prompt')
    .argument('<model>', 'model directory')
    .option('--prompt <text>', 'the prompt, taken verbatim')
    .option('--prompt-file <file>', 'a file with the prompt, taken verbatim')
    .addOption(budgetOption('memory for the whole process; default: what the machine can give'))
    .option('--max-tokens <n>', 'generate at most this many tokens', countArgument, 256)
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
      'sample from the most likely tokens whose probabilities add up to p',
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
      'above 1 makes tokens that have occurred less likely',
      numberArgument,
      1,
    )
    .option('--seed <n>', 'the same seed gives the same text; default: random', countArgument)
    .option(
      '--stop <text>',
      'stop before this text, or at the special token of this name; may be given several times',
      listArgument,
    )
    .option('--ignore-eos', 'do not stop at tokens that end the text')
    .addOption(windowOption())
    .addOption(threadsOption())
    .addOption(kvDTypeOption())
    .addOption(exactOption())
    .option('--stats', 'print what the time was spent on and which bytes were read')
    .addOption(jsonOption())
    .action(run);
}

async function run(dir: string, flags: GenerateFlags): Promise<void> {
  const sampling: SamplingOptions = {
    temperature: flags.temperature,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    repetitionPenalty: flags.repetitionPenalty,
    seed: flags.seed ?? Math.floor(Math.random() * 2 ** 32),
  };
  checkSampling(sampling);
  checkPromptFlags(flags);
  const result = await withModel(
    dir,
    async (model) => {
      const promptIds = await readPrompt(flags, model);
      return generateWith(model, promptIds, flags, sampling);
    },
    { predictors: flags.exact !== true },
  );
  report(result, flags, sampling);
  if (result.finishReason === 'interrupted') process.exitCode = interruptedExitCode();
}

function checkPromptFlags({ prompt, promptFile }: GenerateFlags): void {
  if (prompt !== undefined && promptFile !== undefined) {
    throw new InputError('give either --prompt or --prompt-file, not both');
  }
  if (prompt === undefined && promptFile === undefined && process.stdin.isTTY) {
    throw new InputError('there is no prompt', {}, 'Give --prompt or --prompt-file, or pipe it in');
  }
}

/** The ids of the prompt, which is read and tokenised no further than the context reaches. */
async function readPrompt({ prompt, promptFile }: GenerateFlags, model: Model): Promise<number[]> {
  const { maxPositions } = model.manifest.spec;
  const source =
    promptFile === undefined ? process.stdin : await findText(promptFile, 'the prompt');
  const parts =
    prompt === undefined ? promptParts(source, maxPositions * longestTokenBytes) : [prompt];
  const file = prompt === undefined ? (promptFile ?? 'stdin') : '--prompt';
  return encodePromptParts(model.tokenizer, parts, {
    most: maxPositions,
    file,
    signal: interruption,
  });
}

async function generateWith(
  model: Model,
  promptIds: readonly number[],
  flags: GenerateFlags,
  sampling: SamplingOptions,
): Promise<GenerateResult> {
  const { maxPositions } = model.manifest.spec;
  // The last token is not fed back, so it needs no position.
  const wanted = promptIds.length + Math.max(1, flags.maxTokens) - 1;
  const context = Math.min(maxPositions, wanted);
  if (context < wanted) {
    note(
      `the context of ${maxPositions} positions leaves room for ` +
        `${context - promptIds.length + 1} tokens after this prompt`,
    );
  }
  const budget = chooseBudget(model, flags.dramBudget);
  return withSequence(
    model,
    {
      budget,
      context,
      kvDtype: flags.kvDtype,
      window: flags.window,
      ffn: flags.exact ? 'exact' : 'auto',
      ...bestLogits(sampling),
      ...threadsOf(flags),
    },
    flags.json ?? false,
    (sequence) => {
      if (!flags.exact && model.predictors === null) {
        const rounded = roundsActivations(model.manifest);
        const exact = flags.kvDtype === 'f32' && !rounded ? ', the output is exact' : '';
        note(`no predictors: every neuron is computed${exact}`);
      }
      const { choice } = sequence.runtime.plan;
      if (choice?.sparse === false) note(doesNotPay(choice, budget));
      return generate(sequence, {
        promptIds,
        maxTokens: flags.maxTokens,
        sampling,
        stop: flags.stop ?? [],
        ignoreEos: flags.ignoreEos ?? false,
        signal: interruption,
        ...(flags.json ? {} : { onText: print }),
      });
    },
  );
}

function report(result: GenerateResult, flags: GenerateFlags, sampling: SamplingOptions): void {
  if (flags.json) {
    printJson(result);
  } else if (!result.text.endsWith('\n')) {
    print('\n');
  }
  if (result.finishReason === 'context') {
    note(`stopped: the context is full after ${result.tokens.length} tokens`);
  }
  if (result.finishReason === 'interrupted') note('interrupted');
  if (flags.stats || result.finishReason === 'interrupted') {
    noteLines(statsTable(result.stats));
    if (sampling.temperature > 0) note(`seed ${sampling.seed}`);
  }
}
