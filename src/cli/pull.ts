import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import { checkOutput } from '../convert/output-directory.ts';
import { DiskFullError, InputError } from '../errors.ts';
import { freeBytes, shareDevice } from '../free-space.ts';
import type { HubModel } from '../hub/hub-model.ts';
import type { PullPlace, PullProgress, PullReport } from '../hub/pull.ts';
import { formatBytes, formatMs } from '../units.ts';
import { checkpointJson, describeCheckpoint } from './checkpoint.ts';
import {
  addConversionOptions,
  askedOf,
  type ConversionFlags,
  conversionJson,
  noteConversion,
  runConversion,
} from './conversion.ts';
import { interruption } from './interrupt.ts';
import { jsonOption } from './options.ts';
import { table } from './table.ts';
import { note, print, printJson, showProgress, showWaiting } from './terminal.ts';

interface PullFlags extends ConversionFlags {
  readonly revision: string;
  readonly convert?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function pullCommand(): Command {
  const command = new Command('pull')
    .description(
      'download a checkpoint from the Hugging Face hub: only the files that are needed, each checked',
    )
    .argument('<model>', 'owner/name; for GGUF files owner/name:Q4_K_M or owner/name:file.gguf')
    .argument('[dir]', "directory to create; default: the model's name")
    .option('--revision <revision>', 'branch, tag or commit', 'main')
    .option('--convert <model>', 'convert it to this model directory afterwards')
    .option('--dry-run', 'show what would be downloaded; write nothing');
  return addConversionOptions(command)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nThe environment variable HF_TOKEN is sent to the hub; HF_ENDPOINT names another hub. To resume a\n' +
        'stopped download, run the same command again. The options of convert require --convert.',
    )
    .action(run);
}

async function run(model: string, dir: string | undefined, flags: PullFlags): Promise<void> {
  checkFlags(flags);
  const { revision, convert, json = false } = flags;
  const request = { model, revision, asked: askedOf(flags), signal: interruption };
  // Loaded on demand: other commands do not need the hub code in memory.
  if (flags.dryRun) {
    const { examineOnHub } = await import('../hub/hub-model.ts');
    const found = await showWaiting(`examining ${model}`, json, examineOnHub(request));
    if (json) printJson({ ...toJson(found), dryRun: true });
    else describe(found);
    return;
  }
  const { pullModel } = await import('../hub/pull.ts');
  const progress = showProgress(`pulling ${model}`, json);
  const report = await pullModel({
    ...request,
    ...(dir !== undefined && { directory: dir }),
    onProgress: (done) => progress.update(...progressOf(model, done)),
    onExamined: (found, place) => checkConversion(found, place, flags),
  })
    .catch((error: unknown) => {
      if (interruption.aborted) note('run the same command again to resume');
      throw error;
    })
    .finally(() => progress.stop());
  if (!json) notePull(report);
  const converted =
    convert === undefined
      ? null
      : await runConversion(report.checkpoint, convert, flags, { dryRun: false, quiet: json });
  if (json) {
    const { directory, checkpoint, downloadedBytes, resumedBytes, ms } = report;
    printJson({
      ...toJson(report),
      directory,
      checkpoint,
      downloadedBytes,
      resumedBytes,
      ms,
      dryRun: false,
      ...(converted && { converted: conversionJson(converted, false) }),
    });
  } else if (converted !== null) noteConversion(converted, flags, false);
}

/** @throws InputError when options of convert are given without --convert */
function checkFlags({ convert, lora, hiddenAct, ffnDtype, dramBudget, force, dtype }: PullFlags) {
  if (convert !== undefined) return;
  const given = { lora, hiddenAct, ffnDtype, dramBudget, force };
  const some = Object.values(given).some((value) => value !== undefined) || dtype !== 'auto';
  if (!some) return;
  throw new InputError(
    'options of convert are given without --convert',
    {},
    'Add --convert <model directory>, or leave those options out',
  );
}

/** @throws InputError when the converted model could not be written after the download */
async function checkConversion(
  { report }: HubModel,
  { directory, missingBytes }: PullPlace,
  { convert, force = false }: PullFlags,
): Promise<void> {
  if (convert === undefined) return;
  if (resolve(convert) === resolve(directory)) {
    const how = 'Give another model directory with --convert';
    throw new InputError(
      'is the directory that the checkpoint is downloaded to',
      { file: convert },
      how,
    );
  }
  await checkOutput(convert, report.modelBytes, force);
  const [model, checkpoint] = [convert, directory].map((path) => dirname(resolve(path)));
  if (model === undefined || checkpoint === undefined) return;
  const free = await freeBytes(model);
  if (report.modelBytes + missingBytes <= free || !(await shareDevice(model, checkpoint))) return;
  throw new DiskFullError(
    `the download needs ${formatBytes(missingBytes)} more, the model ${formatBytes(report.modelBytes)}, ` +
      `and the disk has ${formatBytes(free)} free`,
    { file: convert },
    'Free some space, or convert to another disk',
  );
}

/** The time to check a byte, relative to the time to download it. */
const checkingShare = 0.1;

function progressOf(model: string, progress: PullProgress): [number, number, string] {
  const { downloadedBytes, checkedBytes, bytesToDownload, bytesToCheck } = progress;
  const total = bytesToDownload + checkingShare * bytesToCheck;
  const checking = downloadedBytes >= bytesToDownload;
  const detail = checking
    ? `checking ${model}: ${formatBytes(checkedBytes)} of ${formatBytes(bytesToCheck)}`
    : `pulling ${model}: ${formatBytes(downloadedBytes)} of ${formatBytes(bytesToDownload)}`;
  const known = total > 0 ? total : Number.POSITIVE_INFINITY;
  const done = downloadedBytes + checkingShare * checkedBytes;
  return [Math.min(done, known), known, detail];
}

function toJson({ model, revision, files, bytes, report }: HubModel) {
  return { model, revision, files, bytes, about: checkpointJson(report) };
}

function describe({ files, bytes, revision, report }: HubModel): void {
  const rows = files.map((file) => [file.name, formatBytes(file.bytes)]);
  print(describeCheckpoint(report));
  print(table(['file', 'size'], [...rows, ['total', formatBytes(bytes)]]));
  note(`would download ${formatBytes(bytes)} at ${revision}; nothing was written`);
}

function notePull(report: PullReport): void {
  const { model, revision, checkpoint, bytes, downloadedBytes, resumedBytes, ms } = report;
  for (const said of report.report.notes) note(said);
  const speed = formatBytes((downloadedBytes * 1000) / ms);
  const came =
    downloadedBytes === 0
      ? `${formatBytes(bytes)} were already there`
      : `${formatBytes(downloadedBytes)} in ${formatMs(ms)} (${speed}/s)` +
        (resumedBytes === 0 ? '' : `, ${formatBytes(resumedBytes)} were already there`);
  note(`pulled ${model} at ${revision.slice(0, 12)} to ${checkpoint}: ${came}; all files checked`);
}
