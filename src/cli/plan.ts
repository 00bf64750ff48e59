import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { isCheckpoint } from '../convert/is-checkpoint.ts';
import type { KvDType } from '../dtype.ts';
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
import { formatBytes, formatMs, type Size } from '../units.ts';
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
  threadsOf,
  threadsOption,
} from './options.ts';
import { chooseBudget, withModel } from './run.ts';
import { note, print, printJson, showWaiting, table } from './terminal.ts';

interface PlanFlags extends AdaptationFlags, DraftFlags {
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly exact?: boolean;
  readonly experts?: number;
  readonly context?: number;
  readonly revision?: string;
  readonly json?: boolean;
}

export function planCommand(): Command {
  const command = new Command('plan')
    .description('show what a DRAM budget is spent on, without loading the model')
    .argument(
      '<model>',
      'model directory, a checkpoint before its conversion, or owner/name on the hub',
    )
    .addOption(budgetOption('memory for the whole process; default: 90% of what is available'))
    .option(
      '--context <n>',
      'positions of the KV cache: prompt and generated tokens together',
      countArgument,
    )
    .addOption(threadsOption())
    .addOption(exactOption())
    .addOption(expertsOption())
    .addOption(kvDTypeOption())
    .addOption(loraOption())
    .addOption(hiddenActOption())
    .option('--revision <revision>', 'of a model on the hub: branch, tag or commit; default: main')
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

/** A draft is opened beside a model, not beside a checkpoint. */
function refuseDraft({ draft }: DraftFlags): void {
  if (draft === undefined) return;
  throw new InputError(
    '--draft can only be planned for a model directory',
    {},
    'Convert the checkpoint first',
  );
}

/** Whether `path` names a model on the hub, and nothing here. */
async function isOnHub(path: string): Promise<boolean> {
  return parseModelName(path) !== null && (await stat(path).catch(() => null)) === null;
}

/** The plan of a model that would be downloaded and converted. */
async function runOnHub(model: string, flags: PlanFlags): Promise<void> {
  refuseDraft(flags);
  const { revision, json = false } = flags;
  note(`no ${model} here; asking the hub`);
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
  /** Time that flash takes per token; computing hides behind it, or adds to it where it is longer. */
  readonly flashMsPerToken: number;
  readonly bandwidth: number;
  readonly profileSource: 'measured' | 'default';
  /** What a draft makes of a pass, by how often it is right; null without one. */
  readonly drafts: readonly ExpectedDraft[] | null;
  /** Null for models that are not mixtures of experts. */
  readonly experts: ExpertOutlook | null;
}

interface ExpectedDraft {
  /** The share of proposed tokens that are right, each where those before it are. */
  readonly acceptance: number;
  readonly tokensPerPass: number;
  readonly flashBytesPerToken: number;
}

/** With `most` tokens proposed for each pass, of which each reads `reads` bytes. */
function expectDrafts({ streamedBytes }: MemoryPlan, most: number, reads: number): ExpectedDraft[] {
  return [0.5, 0.7, 0.9].map((acceptance) => {
    const tokensPerPass = (1 - acceptance ** (most + 1)) / (1 - acceptance);
    const flashBytesPerToken = Math.round((streamedBytes + most * reads) / tokensPerPass);
    return { acceptance, tokensPerPass, flashBytesPerToken };
  });
}

interface ShowOptions {
  /** What is said of a checkpoint and its download, in the JSON. */
  readonly about?: Readonly<Record<string, unknown>>;
  /** Leaves room for the draft that is asked for. */
  readonly withDraft?: (request: RunRequest) => RunRequest;
  /** Bytes that a proposed token then reads. */
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

/** What the plan gives to experts, and what is expected of that. */
function describeExperts(experts: ExpertOutlook | null): string {
  if (experts === null) return '';
  const { count, perToken, slots, hitRate, bytesPerToken, tokensPerSecond } = experts;
  const present = slots.filter((each) => each > 0);
  const [least, most] = [Math.min(...present), Math.max(...present)];
  const kept = present.length === 0 ? 'none' : least === most ? `${least}` : `${least} to ${most}`;
  return (
    `Experts: ${kept} of ${count} in a layer have a slot; of the ${perToken} that a token takes ` +
    `(${formatBytes(bytesPerToken)} in all layers), ${(100 * hitRate).toFixed(0)}% are expected there. ` +
    `About ${tokensPerSecond.toPrecision(2)} tokens/s.\n`
  );
}

function describe({ plan, weightBytes, floor, drafts, experts, ...device }: Facts): string {
  const total = plan.items.reduce((sum, { bytes }) => sum + bytes, 0);
  const rows = [...plan.items, { name: 'in all', bytes: total }].map(({ name, bytes }) => [
    name,
    formatBytes(bytes),
  ]);
  const speed = `${formatBytes(device.bandwidth)}/s${device.profileSource === 'default' ? ' (assumed; measure with probe)' : ''}`;
  const sparse =
    plan.sparse === null
      ? ''
      : 'With predictors, of each FFN what is wanted; reads are for neurons that are not kept, ' +
        'were the most wanted ones kept all the time.\n';
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
