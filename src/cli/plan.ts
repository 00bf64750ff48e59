import { Command } from 'commander';
import { inspectCheckpoint, isCheckpoint } from '../convert/inspect-checkpoint.ts';
import type { KvDType } from '../dtype.ts';
import { type Plannable, plannable } from '../engine/run-plan.ts';
import { bestLogits, usualSampling } from '../engine/sampler.ts';
import type { DeviceProfile } from '../flash/device-profile.ts';
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
import { choiceTable } from './ffn-choice.ts';
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
import { note, print, printJson, table } from './terminal.ts';

interface PlanFlags extends AdaptationFlags {
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly exact?: boolean;
  readonly experts?: number;
  readonly context?: number;
  readonly json?: boolean;
}

export function planCommand(): Command {
  return new Command('plan')
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
    .addOption(expertsOption())
    .addOption(kvDTypeOption())
    .addOption(loraOption())
    .addOption(hiddenActOption())
    .addOption(jsonOption())
    .action(run);
}

async function run(path: string, flags: PlanFlags): Promise<void> {
  if (await isCheckpoint(path)) return runCheckpoint(path, flags);
  checkAdaptable(path, flags);
  const open = { predictors: flags.exact !== true };
  await withModel(path, async (model) => show(model, model.files.scheduler.profile, flags), open);
}

/** The plan of the model that a checkpoint would be converted to. */
async function runCheckpoint(path: string, flags: PlanFlags): Promise<void> {
  const report = await inspectCheckpoint(path, adaptationOf(flags));
  for (const line of describeAdaptation(report)) note(line);
  const { tensors: _, ...about } = checkpointJson(report);
  if (!flags.json) print(describeCheckpoint(report));
  show(plannable(report.manifest), await profileOf(path), flags, about);
}

function show(
  model: Plannable,
  profile: DeviceProfile,
  flags: PlanFlags,
  checkpoint?: Readonly<Record<string, unknown>>,
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
  const plan = model.plan({ budget: chooseBudget(model, flags.dramBudget), ...request });
  const facts: Facts = {
    plan,
    weightBytes: model.weightBytes,
    floor: model.floor(request).bytes,
    flashMsPerToken: (plan.streamedBytes / profile.bandwidth) * 1000,
    bandwidth: profile.bandwidth,
    profileSource: profile.source,
    experts: expertOutlook(model.manifest, plan, profile),
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
  /** Null for models that are not mixtures of experts. */
  readonly experts: ExpertOutlook | null;
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

function describe({ plan, weightBytes, floor, experts, ...device }: Facts): string {
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
    `Floor: ${formatBytes(floor)}.\n${sparse}${describeExperts(experts)}${verdict}\n`
  );
}
