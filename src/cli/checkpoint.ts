/** What `inspect` and `plan` report about a checkpoint before its conversion. */

import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeDTypes, describeFormats } from '../convert/dtypes.ts';
import type { CheckpointReport } from '../convert/inspect-checkpoint.ts';
import { plannable } from '../engine/run-plan.ts';
import { BudgetError } from '../errors.ts';
import { type DeviceProfile, loadProfile } from '../flash/device-profile.ts';
import { formatBytes, formatMs } from '../units.ts';
import {
  describeAttention,
  describeBlock,
  describeEnds,
  describeFfn,
  describePositions,
  describeScales,
  describeSparsity,
} from './architecture.ts';
import { table } from './table.ts';

/** Positions that a plan assumes when `--context` is not given. */
const usualContext = 512;

/** The profile of the device that holds the checkpoint, as the best guess for the model's own device. */
export async function profileOf(path: string): Promise<DeviceProfile> {
  const found = await stat(path).catch(() => null);
  return loadProfile(found?.isDirectory() ? path : dirname(path));
}

/** How a model would run with the memory that this machine has available. */
export interface Outlook {
  readonly context: number;
  /** The least budget in bytes. */
  readonly floor: number;
  readonly dramBudget: number;
  readonly fitsWhole: boolean;
  /** Null below the floor. */
  readonly flashBytesPerToken: number | null;
  readonly usedBytesPerToken: number | null;
  readonly flashMsPerToken: number | null;
}

export function outlookOf({ manifest }: CheckpointReport, profile: DeviceProfile): Outlook {
  const model = plannable(manifest);
  const context = Math.min(usualContext, manifest.spec.maxPositions);
  const { bytes: floor } = model.floor({ context });
  const { bytes: dramBudget } = model.budgetOf(undefined);
  const known = { context, floor, dramBudget };
  try {
    const { streamedBytes, usedBytes, fitsWhole } = model.plan({ context, budget: dramBudget });
    return {
      ...known,
      fitsWhole,
      flashBytesPerToken: streamedBytes,
      usedBytesPerToken: usedBytes,
      flashMsPerToken: (streamedBytes / profile.bandwidth) * 1000,
    };
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error;
    const unknown = { flashBytesPerToken: null, usedBytesPerToken: null, flashMsPerToken: null };
    return { ...known, fitsWhole: false, ...unknown };
  }
}

/** The JSON about a checkpoint, without its tensors, which are in `tensorsJson`. */
export function checkpointJson(report: CheckpointReport) {
  const { checkpoint, format, spec, formats, dtypes, ffn, problems, notes } = report;
  return {
    checkpoint,
    format,
    runs: problems.length === 0,
    problems,
    notes,
    architecture: spec,
    endTokens: report.endTokens,
    formats,
    adapters: report.adapters,
    activation: report.activation,
    dtypes,
    ffn,
    checkpointBytes: report.checkpointBytes,
    modelBytes: report.modelBytes,
  };
}

/** The tensors that a checkpoint would be converted to. */
export function tensorsJson({ manifest }: CheckpointReport) {
  return [...manifest.tensors.values()].map(({ name, dtype, shape, bytes }) => ({
    name,
    dtype,
    shape,
    bytes,
  }));
}

export function describeCheckpoint(report: CheckpointReport): string {
  const { spec, formats, dtypes, endTokens, notes, problems } = report;
  const scales = describeScales(spec);
  const weights =
    formats === null || report.checkpointBytes === null
      ? 'cannot be opened'
      : `${describeFormats(formats)}, ${formatBytes(report.checkpointBytes)}`;
  return table(
    ['', ''],
    [
      ['checkpoint', report.checkpoint],
      ['format', report.format],
      ['weights', weights],
      ['architecture', `${spec.family}, ${spec.layers} layers, context ${spec.maxPositions}`],
      ['hidden size', `${spec.hiddenSize}`],
      ['block', describeBlock(spec)],
      ['attention', describeAttention(spec)],
      ['positions', describePositions(spec)],
      ...(scales === null ? [] : [['scales', scales]]),
      ['FFN', describeFfn(spec)],
      ['sparsity', describeSparsity(spec)],
      ['vocabulary', `${spec.vocabSize}, head ${spec.tiedHead ? 'tied' : 'not tied'}`],
      ...(endTokens === null ? [] : [['end tokens', describeEnds(endTokens)]]),
      ['converted', `${describeDTypes(dtypes)}, ${formatBytes(report.modelBytes)}`],
      ['runs', problems.length === 0 ? 'yes, once converted' : 'no'],
      ...problems.map((problem, index) => [index === 0 ? 'because' : '', problem]),
      ...notes.map((said, index) => [index === 0 ? 'note' : '', said]),
    ],
  ).replace(/^\n/, '');
}

export function describeOutlook({ spec }: CheckpointReport, outlook: Outlook): string {
  const budget = `${formatBytes(outlook.dramBudget)}, 90% of this machine's available memory`;
  const floor =
    `Needs at least ${formatBytes(outlook.floor)} for ${outlook.context} of its ` +
    `${spec.maxPositions} positions.`;
  const { flashBytesPerToken: flash, usedBytesPerToken: used, flashMsPerToken: ms } = outlook;
  if (flash === null || used === null || ms === null) {
    return `${floor} That is more than ${budget}: the model does not run here.\n`;
  }
  const reads =
    flash === 0
      ? 'the weights that every token uses fit'
      : `each token reads ${formatBytes(flash)} of ${formatBytes(used)} from flash (${formatMs(ms)})`;
  return `${floor} With ${budget}, ${reads}.\n`;
}
