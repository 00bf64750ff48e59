/** Code shared by the commands that run a model: opening it within its budget, and printing the figures. */

import {
  type ChatTemplates,
  templatesIfAny,
  templatesInFile,
  templatesOf,
} from '../chat/chat-templates.ts';
import { Model } from '../engine/model.ts';
import type { Plannable } from '../engine/run-plan.ts';
import type { RunRequest } from '../engine/run-request.ts';
import { Runtime } from '../engine/runtime.ts';
import type { RunStats } from '../engine/stats.ts';
import type { OpenOptions } from '../flash/model-files.ts';
import { ensureProfile } from '../flash/probe-file.ts';
import { formatBytes, formatMs, type Size } from '../units.ts';
import { sayBudget } from './budget.ts';
import { interruption } from './interrupt.ts';
import { table } from './table.ts';
import { note, showProgress } from './terminal.ts';

/** The budget in bytes; prints a line about its source if the user gave none. */
export function chooseBudget(model: Plannable, size: Size | undefined): number {
  const { bytes, source } = model.budgetOf(size);
  if (source !== 'asked') sayBudget(bytes, source);
  return bytes;
}

/**
 * The model's own chat templates; with `template`, the one of them with this name, or else the template
 * in the file with this name.
 * @throws InputError when there is none
 */
export async function chosenTemplates(
  model: Model,
  template: string | undefined,
): Promise<ChatTemplates> {
  if (template === undefined) return templatesOf(model);
  const named = (await templatesIfAny(model))?.named(template) ?? null;
  return named ?? templatesInFile(template, model.tokenizer.roles);
}

/** Opens a model, runs `work` with it, and always closes it. */
export async function withModel<T>(
  dir: string,
  work: (model: Model) => Promise<T>,
  options: OpenOptions = {},
): Promise<T> {
  const model = await Model.open(dir, options);
  try {
    const onProbe = () =>
      note('measuring the read speed of this device, once; the profile will be saved');
    model.files.scheduler.profile = await ensureProfile(dir, onProbe);
    return await work(model);
  } finally {
    model.close();
  }
}

/** Loads a model, showing progress, and always closes it. */
export async function withRuntime<T>(
  model: Model,
  request: RunRequest,
  quiet: boolean,
  work: (runtime: Runtime) => Promise<T>,
): Promise<T> {
  const progress = showProgress('loading', quiet);
  const onProgress = (done: number, total: number) => progress.update(done, total);
  const runtime = await Runtime.open(model, request, onProgress, interruption).finally(() =>
    progress.stop(),
  );
  try {
    return await work(runtime);
  } finally {
    await runtime.close();
  }
}

/** The figures of a draft, if there was one. */
function draftRows(stats: RunStats) {
  const { acceptance, tokensPerPass, flashBytesPerToken = 0 } = stats;
  const { draftMs = 0, draftDeclined = 0, draftRetired } = stats;
  if (acceptance === undefined || tokensPerPass === undefined) return [];
  const declined =
    draftDeclined === 0
      ? ''
      : `; ${(100 * draftDeclined).toFixed(0)}% of the passes had no proposals, as these did not pay`;
  const closed = draftRetired === true ? '; closed, as it did not pay' : '';
  const line = draftLine(acceptance, tokensPerPass);
  const bytes = `${formatBytes(flashBytesPerToken)} from flash per generated token`;
  return [['draft', `${line}, ${bytes}, ${formatMs(draftMs)} for proposing${declined}${closed}`]];
}

/** @param acceptance the share of the proposed tokens that were accepted */
export function draftLine(acceptance: number, tokensPerPass: number): string {
  return (
    `${(100 * acceptance).toFixed(1)}% of the proposed tokens accepted, ` +
    `${tokensPerPass.toFixed(2)} tokens per pass`
  );
}

/** The figures of a run as a table. */
export function statsTable(stats: RunStats): string {
  const share = (value: number) => `${(100 * value).toFixed(1)}%`;
  const largeReads = Object.entries(stats.readSizeHistogram)
    .filter(([size]) => Number(size) >= 32 * 1024)
    .reduce((sum, [, reads]) => sum + reads, 0);
  return table(
    ['', ''],
    [
      ['prompt', `${stats.promptTokens} tokens in ${formatMs(stats.prefillMs)}`],
      [
        'generated',
        `${stats.tokens} tokens in ${formatMs(stats.decodeMs)}, ${stats.tokensPerSecond.toFixed(2)} tokens/s`,
      ],
      [
        'time',
        `I/O ${formatMs(stats.ioMs)}, memory ${formatMs(stats.memoryMs)}, compute ${formatMs(stats.computeMs)}`,
      ],
      [
        'flash',
        `${formatBytes(stats.flashBytes)} in ${stats.flashReads} reads, ` +
          `${largeReads} of them 32 KiB or more, ${formatBytes(stats.flashThroughput)}/s` +
          (stats.awaitedThroughput === undefined
            ? ''
            : `, ${formatBytes(stats.awaitedThroughput)}/s while the computation waited for them`) +
          `${stats.directIo ? '' : ', through the page cache'}`,
      ],
      ...draftRows(stats),
      ['weights from DRAM', share(stats.cacheHitRate)],
      ...(stats.expertHitRate === undefined
        ? []
        : [['experts from DRAM', share(stats.expertHitRate)]]),
      ['FFN sparsity', share(stats.ffnSparsity)],
      [
        'memory',
        `peak ${formatBytes(stats.peakRss)} of a budget of ${formatBytes(stats.dramBudget)}`,
      ],
    ],
  ).replace(/^\n/, '');
}
