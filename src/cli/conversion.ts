/** Conversion for `convert` and `pull --convert`: the options, the run, and the report. */

import { type Command, Option } from 'commander';
import type { ConvertReport } from '../convert/convert.ts';
import { describeDTypes, describeKept, isQuantisation } from '../convert/dtypes.ts';
import { type TargetFormat, targetFormats } from '../convert/target-formats.ts';
import { defaultBudget } from '../plan/available.ts';
import { formatBytes, formatMs, type Size } from '../units.ts';
import {
  type AdaptationFlags,
  adaptationOf,
  describeAdaptation,
  hiddenActOption,
  loraOption,
} from './adaptation.ts';
import { describeFfn, describeSparsity } from './architecture.ts';
import { sayBudget } from './budget.ts';
import { interruption } from './interrupt.ts';
import { budgetOption } from './options.ts';
import { note, showProgress } from './terminal.ts';

export interface ConversionFlags extends AdaptationFlags {
  readonly dtype: TargetFormat | 'auto';
  readonly ffnDtype?: TargetFormat;
  readonly dramBudget?: Size;
  readonly force?: boolean;
}

/** Adds the options that say how a checkpoint is converted. */
export function addConversionOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--dtype <dtype>',
        "dtype of the weights; auto keeps the checkpoint's, and for a GGUF file that of each tensor",
      )
        .choices(['auto', ...targetFormats])
        .default('auto'),
    )
    .addOption(
      new Option(
        '--ffn-dtype <dtype>',
        'dtype of the FFN weights, if it differs from --dtype',
      ).choices(targetFormats),
    )
    .addOption(loraOption())
    .addOption(hiddenActOption())
    .addOption(budgetOption('memory for the whole process').default(undefined, '512MiB'))
    .option('--force', 'replace an existing model directory');
}

/** The flags as parameters of an examination. */
export function askedOf(flags: ConversionFlags) {
  const { dtype, ffnDtype } = flags;
  return { ...adaptationOf(flags), dtype, ...(ffnDtype !== undefined && { ffnDtype }) };
}

/** Converts with progress shown, unless `quiet`. */
export async function runConversion(
  checkpoint: string,
  output: string,
  flags: ConversionFlags,
  { dryRun, quiet }: { readonly dryRun: boolean; readonly quiet: boolean },
): Promise<ConvertReport> {
  // Loaded on demand: commands that run a model do not need the checkpoint readers in memory.
  const { convertCheckpoint, defaultConvertBudget } = await import('../convert/convert.ts');
  const progress = showProgress('converting', quiet);
  try {
    return await convertCheckpoint({
      checkpoint,
      output,
      ...askedOf(flags),
      dramBudget: flags.dramBudget ?? conversionBudget(defaultConvertBudget),
      force: flags.force ?? false,
      dryRun,
      signal: interruption,
      onProgress: ({ doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes),
    });
  } finally {
    progress.stop();
  }
}

/** @param enough bytes for full speed @returns that, or what is available, in bytes */
function conversionBudget(enough: number): number {
  const { bytes, source } = defaultBudget();
  if (bytes >= enough) return enough;
  sayBudget(bytes, source);
  return bytes;
}

export function conversionJson({ spec, ...rest }: ConvertReport, dryRun: boolean) {
  return { ...rest, architecture: spec, dryRun };
}

export function noteConversion(
  report: ConvertReport,
  asked: Pick<ConversionFlags, 'dtype' | 'ffnDtype'>,
  dryRun: boolean,
): void {
  const { spec, dtypes, modelBytes, checkpointBytes } = report;
  note(
    `${spec.family}: ${spec.layers} layers, hidden ${spec.hiddenSize}, ` +
      `FFN of ${describeFfn(spec)}, ${describeDTypes(dtypes)}; ${describeSparsity(spec)}`,
  );
  for (const line of describeAdaptation(report)) note(line);
  if (Object.keys(report.formats).some(isQuantisation)) {
    note(describeKept(report.formats, dtypes, asked));
  }
  for (const said of report.notes) note(said);
  const sizes = `${formatBytes(checkpointBytes)} -> ${formatBytes(modelBytes)}`;
  if (dryRun) {
    note(`would write ${report.output}: ${sizes}; nothing was written`);
    return;
  }
  const speed = formatBytes((modelBytes * 1000) / report.ms);
  note(
    `wrote ${report.output}: ${sizes} in ${formatMs(report.ms)} (${speed}/s), ` +
      `peak memory ${formatBytes(report.peakRss)} of ${formatBytes(report.dramBudget)}`,
  );
}
