import { Command, Option } from 'commander';
import { type ConvertReport, convertCheckpoint, defaultConvertBudget } from '../convert/convert.ts';
import { describeDTypes, describeKept, isQuantisation } from '../convert/dtypes.ts';
import { type TargetFormat, targetFormats } from '../convert/target-formats.ts';
import { defaultBudget } from '../engine/run-plan.ts';
import { formatBytes, formatMs, type Size } from '../units.ts';
import {
  type AdaptationFlags,
  adaptationOf,
  describeAdaptation,
  hiddenActOption,
  loraOption,
} from './adaptation.ts';
import { describeFfn, describeSparsity } from './architecture.ts';
import { interruption } from './interrupt.ts';
import { budgetOption, jsonOption } from './options.ts';
import { sayBudget } from './run.ts';
import { note, printJson, showProgress } from './terminal.ts';

interface ConvertFlags extends AdaptationFlags {
  readonly dtype: TargetFormat | 'auto';
  readonly ffnDtype?: TargetFormat;
  readonly dramBudget?: Size;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function convertCommand(): Command {
  return new Command('convert')
    .description('turn a Hugging Face checkpoint or a GGUF file into a model directory')
    .argument('<checkpoint>', 'directory with config.json, weights and tokenizer, or a .gguf file')
    .argument('<model>', 'model directory to write')
    .addOption(
      new Option(
        '--dtype <dtype>',
        "dtype of the weights; auto keeps the checkpoint's, of a GGUF each tensor's",
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
    .option('--force', 'replace an existing model directory')
    .option('--dry-run', 'check the checkpoint and report; write nothing')
    .addOption(jsonOption())
    .action(run);
}

async function run(checkpoint: string, output: string, flags: ConvertFlags): Promise<void> {
  const progress = showProgress('converting', flags.json);
  try {
    const report = await convertCheckpoint({
      checkpoint,
      output,
      ...adaptationOf(flags),
      dtype: flags.dtype,
      ...(flags.ffnDtype !== undefined && { ffnDtype: flags.ffnDtype }),
      dramBudget: flags.dramBudget ?? convertBudget(),
      force: flags.force ?? false,
      dryRun: flags.dryRun ?? false,
      signal: interruption,
      onProgress: ({ doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes),
    });
    progress.stop();
    if (flags.json) printJson(toJson(report, flags));
    else describe(report, flags);
  } finally {
    progress.stop();
  }
}

/** As much as converts at full speed, or what there is. */
function convertBudget(): number {
  const { bytes, source } = defaultBudget();
  if (bytes >= defaultConvertBudget) return defaultConvertBudget;
  sayBudget(bytes, source);
  return bytes;
}

function toJson(report: ConvertReport, flags: ConvertFlags) {
  const { spec, ...rest } = report;
  return {
    ...rest,
    architecture: spec,
    dryRun: flags.dryRun ?? false,
  };
}

function describe(report: ConvertReport, flags: ConvertFlags): void {
  const { spec, dtypes, modelBytes, checkpointBytes } = report;
  note(
    `${spec.family}: ${spec.layers} layers, hidden ${spec.hiddenSize}, ` +
      `FFN of ${describeFfn(spec)}, ${describeDTypes(dtypes)}; ${describeSparsity(spec)}`,
  );
  for (const line of describeAdaptation(report)) note(line);
  if (Object.keys(report.formats).some(isQuantisation)) {
    note(describeKept(report.formats, dtypes, flags));
  }
  for (const said of report.notes) note(said);
  const sizes = `${formatBytes(checkpointBytes)} -> ${formatBytes(modelBytes)}`;
  if (flags.dryRun) {
    note(`would write ${report.output}: ${sizes}; nothing was written`);
    return;
  }
  const speed = formatBytes((modelBytes * 1000) / report.ms);
  note(
    `wrote ${report.output}: ${sizes} in ${formatMs(report.ms)} (${speed}/s), ` +
      `peak memory ${formatBytes(report.peakRss)} of ${formatBytes(report.dramBudget)}`,
  );
}
