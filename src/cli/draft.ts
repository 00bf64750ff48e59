/** `--draft`: the source of proposed tokens, opened beside the model within the same budget. */

import { stat } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { Model } from '../engine/model.ts';
import { mostSequences, type RunRequest } from '../engine/run-request.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import {
  type DraftOptions,
  draftHeadRows,
  openDraft,
  usualDraftTokens,
  withDraft,
} from '../engine/speculation/open-draft.ts';
import type { RetiredDraft } from '../engine/speculation/retirement.ts';
import { InputError } from '../errors.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { formatBytes, resolveSize, type Size } from '../units.ts';
import { firstThatFits } from './context.ts';
import { interruption } from './interrupt.ts';
import { countFrom, sizeArgument } from './options.ts';
import { withModel, withRuntime } from './run.ts';
import { note, noteAmidText, showProgress } from './terminal.ts';

export interface DraftFlags {
  readonly draft?: string;
  readonly draftTokens?: number;
  readonly draftBudget?: Size;
}

/** The options of all commands that take a draft. */
export function withDraftOptions(command: Command): Command {
  return command
    .addOption(draftOption())
    .addOption(draftTokensOption())
    .addOption(
      new Option(
        '--draft-budget <size>',
        "with --draft <model>: the draft's part of --dram-budget; a percentage is of its weights; " +
          'default: all of its weights or, with predictors, the size with the least time per token',
      ).argParser(sizeArgument),
    );
}

function draftOption(): Option {
  return new Option(
    '--draft <lookup or model>',
    'propose several tokens for each pass; the text stays the same. lookup: propose what followed ' +
      'the last tokens earlier in the text; otherwise the directory of a small model with the same tokenizer, ' +
      'which is closed if it slows the model down',
  );
}

function draftTokensOption(): Option {
  const { lookup, model } = usualDraftTokens;
  return new Option(
    '--draft-tokens <n>',
    `with --draft: the most tokens proposed for a pass; default: ${lookup} with lookup, ${model} with a model`,
  ).argParser(countFrom(1, mostSequences - 1));
}

/**
 * Opens the draft that the flags name, if any, and always closes it.
 * @throws InputError when they name none, or options of another one
 */
export async function withDraftSource<T>(
  { draft, draftTokens: most, draftBudget }: DraftFlags,
  work: (options: DraftOptions | null) => Promise<T>,
): Promise<T> {
  if (draft === undefined) {
    if (most === undefined && draftBudget === undefined) return work(null);
    const flag = most === undefined ? '--draft-budget' : '--draft-tokens';
    throw new InputError(`${flag} applies to drafts`, {}, 'Add --draft');
  }
  if (draft === 'lookup') {
    if (draftBudget === undefined) return work({ source: draft, most });
    throw new InputError(
      '--draft-budget applies to draft models, and --draft lookup uses none',
      {},
      'Leave out --draft-budget',
    );
  }
  if ((await stat(draft).catch(() => null)) === null) {
    throw new InputError(
      '--draft: no such directory',
      { file: draft },
      'Give lookup, or the directory of a small model with the same tokenizer',
    );
  }
  const proposeWith = (source: Model) => {
    const bytes = draftBudget && resolveSize(draftBudget, source.weightBytes);
    return work({ source, most, bytes });
  };
  return withModel(draft, proposeWith, { headRows: draftHeadRows });
}

/** Reports how many more bytes a pass reads because of the draft model, if that is notable. */
function noteCost(plan: MemoryPlan, alone: MemoryPlan, { draftBytes = 0 }: RunRequest): void {
  const [reads, before] = [plan.streamedBytes, alone.streamedBytes];
  if (reads <= notable * before) return;
  const many =
    before === 0
      ? ''
      : `, so it pays only if a pass yields more than ${(reads / before).toFixed(1)} tokens`;
  note(
    `the draft takes ${formatBytes(draftBytes)} of the budget: a pass reads ${formatBytes(reads)} from flash ` +
      `instead of ${formatBytes(before)}${many}`,
  );
}

/** Says that the draft did not pay and is closed. */
function noteRetired({ tokensPerPass, bytes }: RetiredDraft): void {
  noteAmidText(
    `the draft was right too seldom (${tokensPerPass.toFixed(1)} tokens per pass): closed, its ` +
      `${formatBytes(bytes)} hold weights of the model now`,
  );
}

/** A note is printed if a pass reads this many times as much. */
const notable = 1.2;

/**
 * Loads a model with the draft that its flags name, and always closes both.
 * @param requests to be tried in this order, with the draft, until one fits the budget
 */
export function withDraftedRuntime<T>(
  model: Model,
  flags: DraftFlags,
  requests: readonly [RunRequest, ...RunRequest[]],
  quiet: boolean,
  work: (runtime: Runtime, drafter: Drafter | undefined) => Promise<T>,
): Promise<T> {
  return withDraftSource(flags, (options) => {
    if (options === null) {
      const request = firstThatFits(model, requests);
      return withRuntime(model, request, quiet, (runtime) => work(runtime, undefined));
    }
    const whole = firstThatFits(model, requests, (request) => withDraft(model, request, options));
    return withRuntime(model, whole, quiet, async (runtime) => {
      const alone = { ...whole, draftTokens: 0, draftBytes: 0 };
      if (options.source !== 'lookup') noteCost(runtime.plan, model.plan(alone), whole);
      const progress = showProgress('loading the draft', quiet);
      const onProgress = (done: number, all: number) => progress.update(done, all);
      const own = { ...options, onRetired: noteRetired };
      const draft = await openDraft(runtime, whole, own, onProgress, interruption).finally(() =>
        progress.stop(),
      );
      try {
        return await work(runtime, draft.drafter);
      } finally {
        await draft.close();
      }
    });
  });
}
