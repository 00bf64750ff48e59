import { Command } from 'commander';
import {
  addConversionOptions,
  type ConversionFlags,
  conversionJson,
  noteConversion,
  runConversion,
} from './conversion.ts';
import { jsonOption } from './options.ts';
import { printJson } from './terminal.ts';

interface ConvertFlags extends ConversionFlags {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function convertCommand(): Command {
  const command = new Command('convert')
    .description('turn a Hugging Face checkpoint or a GGUF file into a model directory')
    .argument('<checkpoint>', 'directory with config.json, weights and tokenizer, or a .gguf file')
    .argument('<model>', 'model directory to write');
  return addConversionOptions(command)
    .option('--dry-run', 'check the checkpoint and report; write nothing')
    .addOption(jsonOption())
    .action(run);
}

async function run(checkpoint: string, output: string, flags: ConvertFlags): Promise<void> {
  const { dryRun = false, json = false } = flags;
  const report = await runConversion(checkpoint, output, flags, { dryRun, quiet: json });
  if (json) printJson(conversionJson(report, dryRun));
  else noteConversion(report, flags, dryRun);
}
