import { Command } from 'commander';
import { chatPrompt, conversationBytes } from '../chat/chat.ts';
import { Conversation } from '../chat/conversation.ts';
import { type GenerateResult, generate } from '../engine/generate.ts';
import type { Model } from '../engine/model.ts';
import { encodePromptParts } from '../engine/prompt.ts';
import { bestLogits } from '../engine/sampler.ts';
import type { SamplingOptions } from '../engine/sampling-options.ts';
import { InputError } from '../errors.ts';
import { roundsActivations } from '../flash/manifest.ts';
import { type DraftFlags, withDraftedRuntime, withDraftOptions } from './draft.ts';
import { noteChoice, noteFewerExperts } from './ffn-choice.ts';
import { interruptedExitCode, interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  exactOption,
  expertsOf,
  expertsOption,
  jsonOption,
  kvDTypeOption,
  type RunFlags,
  threadsOf,
  threadsOption,
  windowOption,
} from './options.ts';
import { findText, longestTokenBytes, promptParts } from './read-text.ts';
import { chooseBudget, chosenTemplates, statsTable, withModel } from './run.ts';
import { type SamplingFlags, samplingOf, withSamplingOptions } from './sampling.ts';
import { note, noteLines, print, printJson } from './terminal.ts';

interface GenerateFlags extends SamplingFlags, DraftFlags, RunFlags {
  readonly prompt?: string;
  readonly promptFile?: string;
  readonly maxTokens: number;
  readonly chat?: boolean;
  readonly system?: string;
  readonly template?: string;
  readonly stats?: boolean;
  readonly json?: boolean;
}

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('continue a prompt')
    .argument('<model>', 'model directory')
    .option('--prompt <text>', 'the prompt, taken verbatim')
    .option('--prompt-file <file>', 'a file with the prompt, taken verbatim')
    .addOption(budgetOption('memory for the whole process; default: 90% of what is available'))
    .option('--chat', "the prompt is a user's message; it is put into the model's chat template")
    .option('--system <text>', 'with --chat: the system message')
    .option(
      '--template <name or file>',
      "with --chat: another chat template: one of the model's by its name, or a file",
    )
    .option('--max-tokens <n>', 'generate at most this many tokens', countArgument, 256);
  return withDraftOptions(withSamplingOptions(command))
    .addOption(windowOption())
    .addOption(threadsOption())
    .addOption(kvDTypeOption())
    .addOption(exactOption())
    .addOption(expertsOption())
    .option('--stats', 'print where the time went and how many bytes were read')
    .addOption(jsonOption())
    .action(run);
}

async function run(dir: string, flags: GenerateFlags): Promise<void> {
  const sampling = samplingOf(flags);
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

function checkPromptFlags({ prompt, promptFile, ...flags }: GenerateFlags): void {
  if (!flags.chat && (flags.system !== undefined || flags.template !== undefined)) {
    throw new InputError('--system and --template apply to conversations', {}, 'Add --chat');
  }
  if (prompt !== undefined && promptFile !== undefined) {
    throw new InputError('give either --prompt or --prompt-file, not both');
  }
  if (prompt === undefined && promptFile === undefined && process.stdin.isTTY) {
    throw new InputError('no prompt given', {}, 'Give --prompt or --prompt-file, or pipe it in');
  }
}

/** The ids of the prompt, which is read and tokenised no further than the context reaches. */
async function readPrompt(flags: GenerateFlags, model: Model): Promise<readonly number[]> {
  const { prompt, promptFile } = flags;
  const { maxPositions } = model.manifest.spec;
  const source =
    promptFile === undefined ? process.stdin : await findText(promptFile, 'the prompt');
  const parts =
    prompt === undefined ? promptParts(source, maxPositions * longestTokenBytes) : [prompt];
  if (flags.chat) return chatTurn(flags, model, parts);
  const file = prompt === undefined ? (promptFile ?? 'stdin') : '--prompt';
  return encodePromptParts(model.tokenizer, parts, {
    most: maxPositions,
    file,
    signal: interruption,
  });
}

/** The ids of a conversation of one turn. */
async function chatTurn(
  { system, template }: GenerateFlags,
  model: Model,
  parts: Iterable<string> | AsyncIterable<string>,
): Promise<readonly number[]> {
  const conversation = new Conversation(system ?? null);
  let content = '';
  for await (const part of parts) content += part;
  conversation.add({ role: 'user', content });
  const templates = await chosenTemplates(model, template);
  return chatPrompt(model, conversation.messages, { templates, signal: interruption });
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
      `the context of ${maxPositions} positions has room for only ` +
        `${context - promptIds.length + 1} tokens after this prompt`,
    );
  }
  const budget = chooseBudget(model, flags.dramBudget);
  return withDraftedRuntime(
    model,
    flags,
    [
      {
        budget,
        ...(flags.chat && { ownBytes: conversationBytes(context) }),
        context,
        kvDtype: flags.kvDtype,
        window: flags.window,
        ffn: flags.exact ? 'exact' : 'auto',
        ...bestLogits(sampling),
        ...threadsOf(flags),
        ...expertsOf(flags),
      },
    ],
    flags.json ?? false,
    (runtime, draft) => {
      noteExactness(model, flags);
      noteChoice(runtime.plan);
      return generate(runtime.sequence(), {
        draft,
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

/** Prints which neurons or experts are computed, if no predictors are used. */
function noteExactness({ manifest, predictors }: Model, flags: GenerateFlags): void {
  if (noteFewerExperts(manifest.spec, flags.experts)) return;
  if (flags.exact || predictors !== null) return;
  const { experts } = manifest.spec.ffn;
  const rounded = roundsActivations(manifest);
  const exact = flags.kvDtype === 'f32' && !rounded ? ', the output is exact' : '';
  const what =
    experts === undefined
      ? 'no predictors: every neuron is computed'
      : `each token uses ${experts.topK} of ${experts.count} experts`;
  note(`${what}${exact}`);
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
