import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { inspectCheckpoint, isCheckpoint } from '../convert/inspect-checkpoint.ts';
import type { KvDType } from '../dtype.ts';
import { type Plannable, plannable } from '../engine/run-plan.ts';
import { bestLogits, usualSampling } from '../engine/sampler.ts';
import type { DeviceProfile } from '../flash/device-profile.ts';
import { parseModelName } from '../hub/address.ts';
import { examineOnHub } from '../hub/hub-model.ts';
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
import { interruption } from './interrupt.ts';
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
import { note, print, printJson, showWaiting, table } from './terminal.ts';

interface PlanFlags extends AdaptationFlags {
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly exact?: boolean;
  readonly context?: number;
  readonly revision?: string;
  readonly json?: boolean;
}

export function planCommand(): Command {
  return new Command('plan')
    .description('show what a DRAM budget is spent on, without loading the model')
    .argument(
      '<model>',
      'model directory, a checkpoint before its conversion, or owner/name on the hub',
    )
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
    .option('--revision <revision>', 'of a model on the hub: branch, tag or commit; default: main')
    .addOption(jsonOption())
    .action(run);
}

async function run(path: string, flags: PlanFlags): Promise<void> {
  if (await isCheckpoint(path)) return runCheckpoint(path, flags);
  if (await isOnHub(path)) return runOnHub(path, flags);
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
  show(plannable(report.manifest), await profileOf(path), flags, { checkpoint: about });
}

/** Whether `path` names a model on the hub, and nothing here. */
async function isOnHub(path: string): Promise<boolean> {
  return parseModelName(path) !== null && (await stat(path).catch(() => null)) === null;
}

/** The plan of a model that would be downloaded and converted. */
async function runOnHub(model: string, flags: PlanFlags): Promise<void> {
  const { revision, json = false } = flags;
  note(`no ${model} here; asking the hub`);
  const request = {
    model,
    asked: adaptationOf(flags),
    signal: interruption,
    ...(revision !== undefined && { revision }),
  };
  const found = await showWaiting(`examining ${model}`, json, examineOnHub(request));
  const { report, bytes, files } = found;
  for (const line of describeAdaptation(report)) note(line);
  const { tensors: _, ...about } = checkpointJson(report);
  if (!json) {
    print(describeCheckpoint(report));
    print(`Download: ${formatBytes(bytes)} in ${files.length} files.\n`);
  }
  const download = { model: found.model, revision: found.revision, bytes, files };
  show(plannable(report.manifest), await profileOf('.'), flags, { checkpoint: about, download });
}

function show(
  model: Plannable,
  profile: DeviceProfile,
  flags: PlanFlags,
  about: Readonly<Record<string, unknown>> = {},
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
  const plan = model.plan({ budget: chooseBudget(model, flags.dramBudget), ...request });
  const facts: Facts = {
    plan,
    weightBytes: model.weightBytes,
    floor: model.floor(request).bytes,
    flashMsPerToken: (plan.streamedBytes / profile.bandwidth) * 1000,
    bandwidth: profile.bandwidth,
    profileSource: profile.source,
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

function describe({ plan, weightBytes, floor, ...device }: Facts): string {
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
    `Floor: ${formatBytes(floor)}.\n${sparse}${verdict}\n`
  );
}
