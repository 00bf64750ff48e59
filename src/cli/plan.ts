import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { isCheckpoint } from '../convert/is-checkpoint.ts';
import type { Model } from '../engine/model.ts';
import { type Plannable, plannable } from '../engine/run-plan.ts';
import type { RunRequest } from '../engine/run-request.ts';
import { bestLogits, usualSampling } from '../engine/sampler.ts';
import { draftReads, withDraft } from '../engine/speculation/open-draft.ts';
import { InputError } from '../errors.ts';
import type { DeviceProfile } from '../flash/device-profile.ts';
import { pageCacheHint } from '../flash/page-cache.ts';
import { parseModelName } from '../hub/address.ts';
import { type ExpertOutlook, expertOutlook } from '../plan/expert-demand.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { formatBytes, formatMs } from '../units.ts';
import {
  type AdaptationFlags,
  adaptationOf,
  checkAdaptable,
  describeAdaptation,
  hiddenActOption,
  loraOption,
} from './adaptation.ts';
import { checkpointJson, describeCheckpoint, profileOf } from './checkpoint.ts';
import { type DraftFlags, withDraftOptions, withDraftSource } from './draft.ts';
import { choiceTable } from './ffn-choice.ts';
import { interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  exactOption,
  expertsOf,
  expertsOption,
  jsonOption,
  kvDTypeOption,
  type PlanningFlags,
  threadsOf,
  threadsOption,
} from './options.ts';
import { chooseBudget, withModel } from './run.ts';
import { table } from './table.ts';
import { note, print, printJson, showWaiting } from './terminal.ts';

interface PlanFlags extends AdaptationFlags, DraftFlags, PlanningFlags {
  readonly context?: number;
  readonly revision?: string;
  readonly json?: boolean;
}

export function planCommand(): Command {
  const command = new Command('plan')
    .description('show what a DRAM budget is spent on, without loading the model')
    .argument(
      '<model>',
      'model directory, checkpoint that is not converted yet, or owner/name on the hub',
    )
    .addOption(budgetOption('memory for the whole process; default: 90% of what is available'))
    .option(
      '--context <n>',
      'positions of the KV cache, for prompt and generated tokens together',
      countArgument,
    )
    .addOption(threadsOption())
    .addOption(exactOption())
    .addOption(expertsOption())
    .addOption(kvDTypeOption())
    .addOption(loraOption())
    .addOption(hiddenActOption())
    .option('--revision <revision>', 'for a model on the hub: branch, tag or commit; default: main')
    .addOption(jsonOption())
    .action(run);
  return withDraftOptions(command);
}

async function run(path: string, flags: PlanFlags): Promise<void> {
  if (await isCheckpoint(path)) return runCheckpoint(path, flags);
  if (await isOnHub(path)) return runOnHub(path, flags);
  checkAdaptable(path, flags);
  const open = { predictors: flags.exact !== true };
  const work = async (model: Model) => {
    const { profile } = model.files.scheduler;
    if (!model.files.directIo) note(`${pageCacheHint()}.`);
    await withDraftSource(flags, async (draft) => {
      if (draft === null) return show(model, profile, flags, {});
      show(model, profile, flags, {
        withDraft: (request) => withDraft(model, request, draft),
        draftReads: (request) => draftReads(request, draft),
      });
    });
  };
  await withModel(path, work, open);
}

/** The plan of the model that a checkpoint would be converted to. */
async function runCheckpoint(path: string, flags: PlanFlags): Promise<void> {
  refuseDraft(flags);
  const { inspectCheckpoint } = await import('../convert/inspect-checkpoint.ts');
  const report = await inspectCheckpoint(path, adaptationOf(flags));
  for (const line of describeAdaptation(report)) note(line);
  if (!flags.json) print(describeCheckpoint(report));
  show(plannable(report.manifest), await profileOf(path), flags, {
    about: { checkpoint: checkpointJson(report) },
  });
}

/** @throws InputError if a draft is asked for: a plan includes it only for a model directory */
function refuseDraft({ draft }: DraftFlags): void {
  if (draft === undefined) return;
  throw new InputError(
    '--draft can only be planned for a model directory',
    {},
    'Convert the checkpoint first',
  );
}

/** Whether `path` has the form of a model on the hub, and no local file has this name. */
async function isOnHub(path: string): Promise<boolean> {
  return parseModelName(path) !== null && (await stat(path).catch(() => null)) === null;
}

/** The plan of a model that would be downloaded and converted. */
async function runOnHub(model: string, flags: PlanFlags): Promise<void> {
  refuseDraft(flags);
  const { revision, json = false } = flags;
  note(`there is no local file or directory ${model}; asking the hub`);
  const request = {
    model,
    asked: adaptationOf(flags),
    signal: interruption,
    ...(revision !== undefined && { revision }),
  };
  const { examineOnHub } = await import('../hub/hub-model.ts');
  const found = await showWaiting(`examining ${model}`, json, examineOnHub(request));
  const { report, bytes, files } = found;
  for (const line of describeAdaptation(report)) note(line);
  if (!json) {
    print(describeCheckpoint(report));
    print(`Download: ${formatBytes(bytes)} in ${files.length} files.\n`);
  }
  const download = { model: found.model, revision: found.revision, bytes, files };
  show(plannable(report.manifest), await profileOf('.'), flags, {
    about: { checkpoint: checkpointJson(report), download },
  });
}

function show(
  model: Plannable,
  profile: DeviceProfile,
  flags: PlanFlags,
  { about = {}, withDraft: withIt = (request) => request, draftReads: readsOf }: ShowOptions,
): void {
  const { maxPositions } = model.manifest.spec;
  const context = flags.context ?? Math.min(512, maxPositions);
  const ffn = flags.exact ? ('exact' as const) : ('auto' as const);
  const request = {
    context,
    ffn,
    kvDtype: flags.kvDtype,
    ...bestLogits(usualSampling),
    ...threadsOf(flags),
    ...expertsOf(flags),
  };
  const budget = chooseBudget(model, flags.dramBudget);
  const withRoom = withIt({ budget, ...request });
  const { draftTokens = 0, draftBytes = 0 } = withRoom;
  const drafted = { ...request, draftTokens, draftBytes };
  const plan = model.plan({ budget, ...drafted });
  const facts: Facts = {
    plan,
    weightBytes: model.weightBytes,
    floor: model.floor(drafted).bytes,
    drafts: draftTokens === 0 ? null : expectDrafts(plan, draftTokens, readsOf?.(withRoom) ?? 0),
    flashMsPerToken: (plan.streamedBytes / profile.bandwidth) * 1000,
    bandwidth: profile.bandwidth,
    profileSource: profile.source,
    experts: expertOutlook(model.manifest, plan, profile),
  };
  if (flags.json) printJson({ ...toJson(facts), ...about });
  else print(describe(facts));
}

interface Facts {
  readonly plan: MemoryPlan;
  readonly weightBytes: number;
  readonly floor: number;
  /** Time that flash reads take per token, in milliseconds, apart from compute time. */
  readonly flashMsPerToken: number;
  readonly bandwidth: number;
  readonly profileSource: 'measured' | 'default';
  /** The expected effect of a draft, by the share of proposals that are right; null without a draft. */
  readonly drafts: readonly ExpectedDraft[] | null;
  /** Null for models that are not mixtures of experts. */
  readonly experts: ExpertOutlook | null;
}

interface ExpectedDraft {
  /** The probability that a proposed token is right, given that those before it are. */
  readonly acceptance: number;
  readonly tokensPerPass: number;
  readonly flashBytesPerToken: number;
}

/** The expected effect of `most` proposed tokens for each pass, each of which reads `reads` more bytes. */
function expectDrafts({ streamedBytes }: MemoryPlan, most: number, reads: number): ExpectedDraft[] {
  return [0.5, 0.7, 0.9].map((acceptance) => {
    const tokensPerPass = (1 - acceptance ** (most + 1)) / (1 - acceptance);
    const flashBytesPerToken = Math.round((streamedBytes + most * reads) / tokensPerPass);
    return { acceptance, tokensPerPass, flashBytesPerToken };
  });
}

interface ShowOptions {
  /** Further JSON keys about a checkpoint and its download. */
  readonly about?: Readonly<Record<string, unknown>>;
  /** Returns the request with room for the draft. */
  readonly withDraft?: (request: RunRequest) => RunRequest;
  /** The bytes that each proposed token adds to a pass. */
  readonly draftReads?: (request: RunRequest) => number;
}

function toJson({ plan, ...facts }: Facts) {
  const tensors = [...plan.residences].map(([{ name, shape }, { rows }]) => ({
    name,
    rows,
    of: shape[0] ?? 1,
  }));
  return {
    dramBudget: plan.dramBudget,
    context: plan.context,
    chunk: plan.chunk,
    items: plan.items,
    resident: tensors,
    usedBytesPerToken: plan.usedBytes,
    flashBytesPerToken: plan.streamedBytes,
    fitsWhole: plan.fitsWhole,
    /** Neurons in DRAM, per layer; null: every neuron is computed. */
    neuronSlots: plan.sparse?.stores.map(({ slots }) => slots) ?? null,
    /** With predictors only: whether they pay here, and how each layer's FFN is read. */
    ffn: plan.choice,
    ...facts,
  };
}

function draftTable(drafts: readonly ExpectedDraft[]): string {
  const rows = drafts.map(({ acceptance, tokensPerPass, flashBytesPerToken }) => [
    `${(100 * acceptance).toFixed(0)}%`,
    tokensPerPass.toFixed(1),
    formatBytes(flashBytesPerToken),
  ]);
  return `${table(['proposals right', 'tokens per pass', 'from flash per token'], rows)}\n`;
}

/** The slots that the plan gives to experts, and the expected hit rate and speed. */
function describeExperts(experts: ExpertOutlook | null): string {
  if (experts === null) return '';
  const { count, perToken, slots, hitRate, bytesPerToken, tokensPerSecond } = experts;
  const present = slots.filter((each) => each > 0);
  const [least, most] = [Math.min(...present), Math.max(...present)];
  const kept = present.length === 0 ? 'none' : least === most ? `${least}` : `${least} to ${most}`;
  return (
    `Experts: ${kept} of ${count} in a layer have a slot. A token uses ${perToken} ` +
    `(${formatBytes(bytesPerToken)} in all layers), of which ${(100 * hitRate).toFixed(0)}% should be in DRAM. ` +
    `About ${tokensPerSecond.toPrecision(2)} tokens/s.\n`
  );
}

function describe({ plan, weightBytes, floor, drafts, experts, ...device }: Facts): string {
  const total = plan.items.reduce((sum, { bytes }) => sum + bytes, 0);
  const rows = [...plan.items, { name: 'total', bytes: total }].map(({ name, bytes }) => [
    name,
    formatBytes(bytes),
  ]);
  const speed = `${formatBytes(device.bandwidth)}/s${device.profileSource === 'default' ? ' (assumed; measure with probe)' : ''}`;
  const sparse =
    plan.sparse === null
      ? ''
      : 'With predictors, a token reads only predicted neurons that are not in DRAM. ' +
        'The estimate assumes that the most used neurons stay in DRAM.\n';
  const verdict =
    plan.streamedBytes === 0
      ? 'The weights that every token uses fit; nothing is streamed.'
      : `Each token reads ${formatBytes(plan.streamedBytes)} of ${formatBytes(plan.usedBytes)} ` +
        `from flash: ${formatMs(device.flashMsPerToken)} at ${speed}.`;
  const choice = plan.choice === null ? '' : `${choiceTable(plan.choice)}\n`;
  return (
    `${table(['item', 'bytes'], rows)}\n${choice}` +
    `Weights: ${formatBytes(weightBytes)}. Budget: ${formatBytes(plan.dramBudget)}. ` +
    `Floor: ${formatBytes(floor)}.\n${sparse}${describeExperts(experts)}${verdict}\n` +
    (drafts === null ? '' : draftTable(drafts))
  );
}
