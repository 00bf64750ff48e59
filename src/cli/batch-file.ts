/** The work of `batch`. */

import type { MeasureChat } from '../batch/call.ts';
import { type EarlierResults, readEarlierResults } from '../batch/earlier-results.ts';
import { Output } from '../batch/journal.ts';
import type { LineFile } from '../batch/lines.ts';
import { type RunCounts, runBatch } from '../batch/run.ts';
import { RuntimeEngine } from '../batch/runtime-engine.ts';
import { batchBytes, type Survey, surveyInput } from '../batch/survey.ts';
import { type ChatTemplates, templatesIfAny } from '../chat/chat-templates.ts';
import { fileError } from '../checkpoint/file.ts';
import type { Model } from '../engine/model.ts';
import type { RunRequest } from '../engine/run-request.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import { type Answerer, answererOf } from '../openai/answerer.ts';
import { chatTextBytes } from '../openai/chat-prompt.ts';
import { peakResidentBytes } from '../plan/process.ts';
import { openRegular } from '../regular-file.ts';
import { formatBytes, formatMs } from '../units.ts';
import type { BatchFlags } from './batch-flags.ts';
import { withDraftedRuntime } from './draft.ts';
import { noteFewerExperts } from './ffn-choice.ts';
import { interruptedExitCode, interruption } from './interrupt.ts';
import { expertsOf, threadsOf } from './options.ts';
import { chooseBudget, chosenTemplates, draftLine, withModel } from './run.ts';
import { table } from './table.ts';
import { note, print, printJson, showProgress } from './terminal.ts';

/** The summary that the command prints at its end; the keys are those of `--json`. */
interface Summary {
  /** Requests in the input. */
  readonly lines: number;
  /** Results in the output, including errors. */
  readonly answered: number;
  /** Results that are errors. */
  readonly errors: number;
  /** Answered by earlier runs. */
  readonly answeredBefore: number;
  /** Of this run only, like all fields below. */
  readonly promptTokens: number;
  readonly tokens: number;
  readonly elapsedMs: number;
  readonly tokensPerSecond: number;
  readonly flashBytes: number;
  readonly parallel: number;
  readonly peakRss: number;
  /** With a draft only; these mean the same as for a single text. */
  readonly acceptance?: number;
  readonly tokensPerPass?: number;
  readonly draftRetired?: true;
}

/** Answers the lines of the input file that have no result in the output file yet, and prints a summary. */
export async function answerBatch(
  dir: string,
  from: string,
  to: string,
  flags: BatchFlags,
): Promise<void> {
  const handle = await openRegular(from).catch((error: unknown) => {
    throw fileError(error, from, 'opening the input');
  });
  try {
    const input = { path: from, source: handle, bytes: (await handle.stat()).size };
    const output = await Output.claim(to, handle);
    try {
      const summary = await withModel(dir, (model) => answerFile(model, input, output, flags), {
        predictors: flags.exact !== true,
      });
      report(summary, to, flags);
    } finally {
      await output.release();
    }
  } finally {
    await handle.close();
  }
}

/** The fewest positions of a sequence when `--context` is not given. */
const leastContext = 256;
const nothingEarlier: EarlierResults = { answered: 0, errors: 0, bytes: 0 };
const nothingDone: RunCounts = { answered: 0, errors: 0, promptTokens: 0, tokens: 0, underWay: 0 };

async function answerFile(
  model: Model,
  input: LineFile,
  output: Output,
  flags: BatchFlags,
): Promise<Summary> {
  const ffn = flags.exact ? 'exact' : 'sparse';
  const by = answererOf(model, { ffn, kvDtype: flags.kvDtype, ...expertsOf(flags) });
  const { templates: templatesFor, measureChat } = await chatsOf(model, flags);
  const { survey, earlier } = await look(input, output, { by, measureChat }, flags);
  const left = survey.table.size - earlier.answered;
  const summarise = (counts: RunCounts, elapsedMs: number): Summary => ({
    lines: survey.table.size,
    answered: earlier.answered + counts.answered,
    errors: earlier.errors + counts.errors,
    answeredBefore: earlier.answered,
    promptTokens: counts.promptTokens,
    tokens: counts.tokens,
    elapsedMs,
    tokensPerSecond: elapsedMs === 0 ? 0 : (1000 * counts.tokens) / elapsedMs,
    flashBytes: model.files.scheduler.stats.snapshot().bytes,
    parallel: flags.parallel,
    peakRss: peakResidentBytes(),
  });
  if (left === 0) {
    await (await output.begin(earlier.bytes)).close();
    return summarise(nothingDone, 0);
  }
  const templates = survey.template ? await templatesFor() : null;
  const context = chooseContext(model, survey, flags);
  const { parallel } = flags;
  const { vocabSize } = model.manifest.spec;
  const request: RunRequest = {
    budget: chooseBudget(model, flags.dramBudget),
    ownBytes: batchBytes(survey, { parallel, context, vocabSize }),
    context,
    sequences: Math.min(flags.parallel, left),
    kvDtype: flags.kvDtype,
    window: flags.window,
    ffn,
    ...(survey.bestLogits === null ? {} : { bestLogits: survey.bestLogits }),
    ...threadsOf(flags),
    ...expertsOf(flags),
  };
  return withDraftedRuntime(
    model,
    flags,
    [request],
    flags.json ?? false,
    async (runtime, draft) => {
      noteFewerExperts(model.manifest.spec, flags.experts);
      const journal = await output.begin(earlier.bytes);
      const started = performance.now();
      const progress = showProgress('answering', flags.json);
      const engine = new RuntimeEngine(runtime, by, { templates, draft });
      try {
        const counts = await runBatch(engine, {
          input,
          table: survey.table,
          journal,
          parallel,
          maxTokens: flags.maxTokens,
          seed: flags.seed,
          signal: interruption,
          onProgress: ({ answered, underWay, tokens }) => {
            const perSecond = (1000 * tokens) / (performance.now() - started);
            const done = `${earlier.answered + answered} of ${survey.table.size} lines`;
            const detail = `${done}, ${perSecond.toFixed(1)} tokens/s,`;
            progress.update(answered + underWay, left, detail);
          },
        });
        return { ...summarise(counts, performance.now() - started), ...draftShares(draft) };
      } finally {
        progress.stop();
        await engine.close();
        await journal.close();
      }
    },
  );
}

/**
 * The chat templates, and a function that measures rendered chats.
 * @throws InputError when the file holds no template
 */
async function chatsOf(
  model: Model,
  { template, context }: BatchFlags,
): Promise<{
  readonly templates: () => Promise<ChatTemplates | null>;
  readonly measureChat: MeasureChat;
}> {
  const given = template === undefined ? undefined : await chosenTemplates(model, template);
  // An unusable template is reported before anything is read.
  given?.choose(false);
  const templates = async () => given ?? (await templatesIfAny(model));
  return {
    templates,
    // Chats are rendered to measure their length, unless --context is given.
    measureChat: async (request) =>
      context === undefined ? chatTextBytes(request, await templates()) : 0,
  };
}

function draftShares(
  draft: Drafter | undefined,
): Pick<Summary, 'acceptance' | 'tokensPerPass' | 'draftRetired'> {
  if (draft === undefined) return {};
  const { proposed, accepted, passes, tokens } = draft.control.totals;
  return {
    acceptance: proposed === 0 ? 0 : accepted / proposed,
    tokensPerPass: passes === 0 ? 0 : tokens / passes,
    ...(draft.retirement?.closed && { draftRetired: true as const }),
  };
}

/** Reads the input once, and the output if there is one. */
async function look(
  input: LineFile,
  { found }: Output,
  { by, measureChat }: { readonly by: Answerer; readonly measureChat: MeasureChat },
  { maxTokens, json }: BatchFlags,
): Promise<{ readonly survey: Survey; readonly earlier: EarlierResults }> {
  const total = input.bytes + (found?.bytes ?? 0);
  const progress = showProgress('reading the files', json);
  try {
    const survey = await surveyInput(input, {
      maxTokens,
      measureChat,
      signal: interruption,
      onProgress: (bytes) => progress.update(bytes, total),
    });
    if (found === null) return { survey, earlier: nothingEarlier };
    const earlier = await readEarlierResults(found, {
      table: survey.table,
      by,
      input: input.path,
      signal: interruption,
      onProgress: (bytes) => progress.update(input.bytes + bytes, total),
    });
    return { survey, earlier };
  } finally {
    progress.stop();
  }
}

/** Positions of a sequence: as many as asked for, or as the longest line can need. */
function chooseContext(model: Model, { positions }: Survey, { context }: BatchFlags): number {
  if (context !== undefined) return context;
  const { maxPositions } = model.manifest.spec;
  const needed = Math.min(maxPositions, Math.max(leastContext, positions));
  note(`context of ${needed} positions, chosen for the longest request; set it with --context`);
  return needed;
}

function report(summary: Summary, to: string, flags: BatchFlags): void {
  const { lines, answered, errors, answeredBefore } = summary;
  if (flags.json) printJson(summary);
  else print(summaryTable(summary));
  if (answeredBefore === lines) note('earlier runs have already answered all requests');
  if (errors > 0) note(`${errors} of ${answered} results are errors: see 'error' in ${to}`);
  if (!interruption.aborted) return;
  note(
    `interrupted; run the same command again to answer the remaining ${lines - answered} requests`,
  );
  process.exitCode = interruptedExitCode();
}

function summaryTable(summary: Summary): string {
  const { lines, answered, errors, answeredBefore, promptTokens, tokens } = summary;
  const before = answeredBefore === 0 ? '' : `, ${answeredBefore} of them by earlier runs`;
  const { elapsedMs, tokensPerSecond, flashBytes, peakRss } = summary;
  const { acceptance, tokensPerPass } = summary;
  return table(
    ['', ''],
    [
      ['lines', `${answered} of ${lines} answered${before}`],
      ['errors', `${errors}`],
      ['prompt tokens', `${promptTokens}`],
      [
        'generated',
        `${tokens} tokens in ${formatMs(elapsedMs)}, ${tokensPerSecond.toFixed(2)} tokens/s`,
      ],
      ['flash', formatBytes(flashBytes)],
      ...(acceptance === undefined || tokensPerPass === undefined
        ? []
        : [['draft', draftLine(acceptance, tokensPerPass)]]),
      ['memory', `peak ${formatBytes(peakRss)}`],
    ],
  ).replace(/^\n/, '');
}
