import { realpath } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { recoverModel } from '../convert/output-directory.ts';
import { type DocumentPart, documentParts } from '../engine/documents.ts';
import type { Model } from '../engine/model.ts';
import type { ArrangementReport } from '../predictor/arrangement.ts';
import { type Method, methods } from '../predictor/layer.ts';
import type { PredictTrainReport } from '../predictor/predict-train.ts';
import { formatBytes, formatMs, type Size } from '../units.ts';
import { interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  countFrom,
  jsonOption,
  listArgument,
  numberArgument,
  threadsOf,
  threadsOption,
} from './options.ts';
import { findText, type TextFile, textParts } from './read-text.ts';
import { chooseBudget, withModel } from './run.ts';
import { table } from './table.ts';
import { note, print, printJson, showProgress } from './terminal.ts';

interface PredictTrainFlags {
  readonly data: string[];
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly rank?: number;
  readonly share?: number;
  readonly epochs?: number;
  readonly maxTokens?: number;
  readonly seed?: number;
  readonly recall?: number;
  readonly method: Method;
  readonly relu?: boolean;
  readonly import?: string;
  readonly thresholdSparsity?: number;
  readonly arrange?: boolean;
  readonly json?: boolean;
}

export function predictTrainCommand(): Command {
  return new Command('predict-train')
    .description('train predictors of which neurons fire, on your own text')
    .argument('<model>', 'model directory')
    .requiredOption(
      '--data <file...>',
      'text similar to what the model will be used for',
      listOfFiles,
    )
    .addOption(budgetOption('memory for the whole process; default: 90% of what is available'))
    .option(
      '--rank <n>',
      'rank of the predictors in all layers; default: chosen by cost',
      countFrom(1),
    )
    .option(
      '--share <percent>',
      'total size of the predictors, in percent of the model; default: 4, or 6 for models below 64 MiB',
      percentArgument,
    )
    .option('--epochs <n>', 'the most passes over the text; default: 3', countFrom(1))
    .option(
      '--max-tokens <n>',
      'use at most this many tokens of the text; default: fewer for larger models',
      countFrom(1),
    )
    .option('--seed <n>', 'the same seed gives the same predictors; default: 1', countArgument)
    .option(
      '--recall <share>',
      'share of the activation mass that the predicted neurons must hold; default: 0.997',
      shareArgument,
    )
    .addOption(
      new Option(
        '--method <method>',
        'rows: the gate rows in 4 bits; low-rank: two trained factors; svd: two factors without training; auto: in each layer, the method with the least time per token',
      )
        .choices([...methods])
        .default('auto'),
    )
    .option('--relu', 'put a ReLU between the two factors')
    .option(
      '--import <dir>',
      'read published predictors (model_<layer>.pt) from this directory instead of training',
    )
    .option(
      '--threshold-sparsity <share>',
      'for models without exact zeros: treat this share of the neurons, those with the smallest gate activations, as 0',
      sparsityArgument,
    )
    .option('--arrange', 'store neurons that fire together side by side; rewrites the model')
    .option(
      '--no-arrange',
      'keep the order of the neurons; default: reorder them where that saves reads',
    )
    .addOption(threadsOption())
    .addOption(jsonOption())
    .action(run);
}

function listOfFiles(file: string, files: readonly string[] = []): string[] {
  return listArgument(file, files);
}

function shareArgument(text: string): number {
  const value = numberArgument(text);
  if (!(value > 0 && value <= 1))
    throw new InvalidArgumentError('It must be above 0 and at most 1.');
  return value;
}

function sparsityArgument(text: string): number {
  const value = shareArgument(text);
  if (value === 1) throw new InvalidArgumentError('It must be below 1.');
  return value;
}

function percentArgument(text: string): number {
  const value = numberArgument(text.replace(/%$/, ''));
  if (!(value > 0 && value <= 50))
    throw new InvalidArgumentError('It must be above 0 and at most 50 percent.');
  return value / 100;
}

async function run(dir: string, flags: PredictTrainFlags): Promise<void> {
  // Loaded on demand: other commands do not need the training code in memory.
  const { predictTrain } = await import('../predictor/predict-train.ts');
  const texts: TextFile[] = [];
  for (const file of flags.data) texts.push(await findText(file, 'the text'));
  await recoverModel(await realpath(dir).catch(() => dir));
  const reading = showProgress('reading the text', flags.json);
  const progress = showProgress('training', flags.json);
  const train = (model: Model) =>
    predictTrain(model, {
      budget: chooseBudget(model, flags.dramBudget),
      documents: allDocuments(texts),
      corpus: flags.data.join(', '),
      ...threadsOf(flags),
      ...optional('rank', flags.rank),
      ...optional('share', flags.share),
      ...optional('epochs', flags.epochs),
      ...optional('maxTokens', flags.maxTokens),
      ...optional('seed', flags.seed),
      ...optional('recall', flags.recall),
      ...optional('relu', flags.relu),
      ...optional('importFrom', flags.import),
      ...optional('thresholdSparsity', flags.thresholdSparsity),
      ...optional('arrange', flags.arrange),
      method: flags.method,
      signal: interruption,
      onReading: (tokens, wanted) => reading.update(...shareRead(texts, tokens, wanted)),
      onProgress: (done, what) => {
        reading.stop();
        progress.update(done, 1, what);
      },
    });
  // Existing predictors will be replaced, even damaged ones, so they are not opened.
  const report = await withModel(dir, train, { predictors: false }).finally(() => {
    reading.stop();
    progress.stop();
  });
  if (flags.json) printJson(report);
  else describe(report);
}

function optional<K extends string, T>(key: K, value: T | undefined): { [P in K]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: T });
}

async function* allDocuments(texts: readonly TextFile[]): AsyncGenerator<DocumentPart> {
  for (const text of texts) yield* documentParts(textParts(text, 'the text'));
}

/** The progress of reading, which ends with the text or when there are enough tokens. */
function shareRead(
  texts: readonly TextFile[],
  tokens: number,
  wanted: number,
): [done: number, total: number] {
  const bytes = texts.reduce((sum, text) => sum + (text.bytes ?? Number.POSITIVE_INFINITY), 0);
  const bytesRead = texts.reduce((sum, text) => sum + text.bytesRead, 0);
  return tokens / wanted > bytesRead / bytes ? [tokens, wanted] : [bytesRead, bytes];
}

function describe(report: PredictTrainReport): void {
  const share = (value: number) => `${(100 * value).toFixed(2)}%`;
  const rows = report.layers.map((layer, index) => {
    const active = 1 - layer.sparsity;
    return [
      `${index}`,
      layer.used ? (layer.form === 'rows' ? 'rows' : `rank ${layer.rank}`) : 'none',
      share(layer.sparsity),
      share(active),
      share(layer.predicted),
      active === 0 ? '' : (layer.predicted / active).toFixed(2),
      share(layer.recall),
      share(layer.precision),
      share(layer.mass),
    ];
  });
  const head = ['layer', 'predictor', 'sparsity', 'active', 'predicted', 'times'];
  print(table([...head, 'recall', 'precision', 'mass kept'], rows));
  print(`\n${verdict(report)}\n`);
  if (report.arrangement !== undefined) note(describeArrangement(report.arrangement));
  if (report.resumed > 0) note(`${report.resumed} layers were reused from an interrupted run`);
  note(
    `${report.tokens} tokens in ${formatMs(report.ms)}, ` +
      `peak memory ${formatBytes(report.peakRss)} of ${formatBytes(report.dramBudget)}`,
  );
}

function describeArrangement({ done, readBefore, readAfter, reason }: ArrangementReport): string {
  if (!done) return `neurons keep their order: ${reason}`;
  const saved = `${Math.round(100 * (1 - readAfter / readBefore))}%`;
  return `neurons that fire together now lie side by side: a token reads ${saved} less from flash`;
}

/** What the predictors save and cost, in one line. */
function verdict({ layers, bytes, modelBytes }: PredictTrainReport): string {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const active = mean(layers.map(({ sparsity }) => 1 - sparsity));
  const predicted = mean(layers.map((layer) => (layer.used ? layer.predicted : 1)));
  const mass = mean(layers.map((layer) => (layer.used ? layer.mass : 1)));
  const percent = (value: number) => `${(100 * value).toFixed(1)}%`;
  const size = `${formatBytes(bytes)} of predictors (${percent(bytes / modelBytes)} of the model)`;
  if (layers.some(({ magnitude }) => magnitude !== undefined)) {
    return (
      `${size} leave out ${percent(1 - predicted)} of the neurons, which carry ${percent(1 - mass)} ` +
      'of the activations. Run eval to see what that costs in perplexity.'
    );
  }
  if (predicted > 0.5) {
    return `${size} do not pay: they predict ${percent(predicted)} of the neurons. Generate with --exact, or train on more text.`;
  }
  return (
    `${size} keep ${percent(mass)} of the activations with ${percent(predicted)} of the neurons, ` +
    `while ${percent(active)} fire: an FFN reads ${(1 / predicted).toFixed(0)} times less.`
  );
}
