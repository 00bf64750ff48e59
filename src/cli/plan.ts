import { Command } from 'commander';
import { inspectCheckpoint, isCheckpoint } from '../convert/inspect-checkpoint.ts';
import type { KvDType } from '../dtype.ts';
import type { Model } from '../engine/model.ts';
import { type Plannable, plannable } from '../engine/run-plan.ts';
import type { RunRequest } from '../engine/run-request.ts';
import { bestLogits, usualSampling } from '../engine/sampler.ts';
import { withDraft } from '../engine/speculation/open-draft.ts';
import { InputError } from '../errors.ts';
import type { DeviceProfile } from '../flash/device-profile.ts';
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
import {
  budgetOption,
  countArgument,
  exactOption,
  jsonOption,
  kvDTypeOption,
  threadsOf,
  threadsOption,
} from './options.ts';
import { chooseBudget, withModel } from './run.ts';
import { note, print, printJson, table } from './terminal.ts';

interface PlanFlags extends AdaptationFlags, DraftFlags {
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly exact?: boolean;
  readonly context?: number;
  readonly json?: boolean;
}

export function planCommand(): Command {
  const command = new Command('plan')
    .description('show what a DRAM budget is spent on, without loading the model')
    .argument('<model>', 'model directory, or a checkpoint before its conversion')
    .addOption(budgetOption('memory for the whole process; default: what the machine can give'))
    .option(
      '--context <n>',
      'positions of the KV cache: prompt and generated tokens together',
      countArgument,
    )
    .addOption(threadsOption())
    .addOption(exactOption())
    .addOption(kvDTypeOption())
    .addOption(loraOption())
    .addOption(hiddenActOption())
    .addOption(jsonOption())
    .action(run);
  return withDraftOptions(command);
}

async function run(path: string, flags: PlanFlags): Promise<void> {
  if (await isCheckpoint(path)) return runCheckpoint(path, flags);
  checkAdaptable(path, flags);
  const open = { predictors: flags.exact !== true };
  const work = async (model: Model) => {
    const { profile } = model.files.scheduler;
    await withDraftSource(flags, async (draft) => {
      const withIt = (request: RunRequest) =>
        draft === null ? request : withDraft(model, request, draft);
      show(model, profile, flags, { withDraft: withIt });
    });
  };
  await withModel(path, work, open);
}

/** The plan of the model that a checkpoint would be converted to. */
async function runCheckpoint(path: string, flags: PlanFlags): Promise<void> {
  if (flags.draft !== undefined) {
    throw new InputError('--draft is planned for models', {}, 'Convert the checkpoint first');
  }
  const report = await inspectCheckpoint(path, adaptationOf(flags));
  for (const line of describeAdaptation(report)) note(line);
  const { tensors: _, ...about } = checkpointJson(report);
  if (!flags.json) print(describeCheckpoint(report));
  show(plannable(report.manifest), await profileOf(path), flags, { checkpoint: about });
}

function show(
  model: Plannable,
  profile: DeviceProfile,
  flags: PlanFlags,
  { checkpoint, withDraft: withIt = (request) => request }: ShowOptions,
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
  };
  const budget = chooseBudget(model, flags.dramBudget);
  const { draftTokens = 0, draftBytes = 0 } = withIt({ budget, ...request });
  const drafted = { ...request, draftTokens, draftBytes };
  const plan = model.plan({ budget, ...drafted });
  const facts: Facts = {
    plan,
    weightBytes: model.weightBytes,
    floor: model.floor(drafted).bytes,
    drafts: draftTokens === 0 ? null : expectDrafts(plan, draftTokens),
    flashMsPerToken: (plan.streamedBytes / profile.bandwidth) * 1000,
    bandwidth: profile.bandwidth,
    profileSource: profile.source,
  };
  if (flags.json) printJson({ ...toJson(facts), ...(checkpoint && { checkpoint }) });
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
}

interface ExpectedDraft {
  /** The share of proposed tokens that are right, each where those before it are. */
  readonly acceptance: number;
  readonly tokensPerPass: number;
  readonly flashBytesPerToken: number;
}

/** With `most` tokens proposed for each pass. */
function expectDrafts({ streamedBytes }: MemoryPlan, most: number): ExpectedDraft[] {
  return [0.5, 0.7, 0.9].map((acceptance) => {
    const tokensPerPass = (1 - acceptance ** (most + 1)) / (1 - acceptance);
    const flashBytesPerToken = Math.round(streamedBytes / tokensPerPass);
    return { acceptance, tokensPerPass, flashBytesPerToken };
  });
}

interface ShowOptions {
  /** What is said of a checkpoint. */
  readonly checkpoint?: Readonly<Record<string, unknown>>;
  /** Leaves room for the draft that is asked for. */
  readonly withDraft?: (request: RunRequest) => RunRequest;
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

function describe({ plan, weightBytes, floor, drafts, ...device }: Facts): string {
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
    `Floor: ${formatBytes(floor)}.\n${sparse}${verdict}\n${drafts === null ? '' : draftTable(drafts)}`
  );
}
