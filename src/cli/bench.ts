import { writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { isReplaceable, writeAside } from '../aside.ts';
import { chartHtml, chartSvg } from '../bench/chart.ts';
import type { RowRequest, RowRun } from '../bench/measure.ts';
import { defaultPrompt, promptOf } from '../bench/prompt.ts';
import { needsPredictors, type RowName, rowNames, rowSpec, rowSpecs } from '../bench/rows.ts';
import type { KvDType } from '../dtype.ts';
import type { Model } from '../engine/model.ts';
import { usualSampling } from '../engine/sampler.ts';
import { InputError, InterruptedError, withNothingLeft, writeError } from '../errors.ts';
import { writeUnbundled } from '../flash/unbundled-writer.ts';
import { ownedName, sweepBeside } from '../owned.ts';
import { parseSize, resolveSize, type Size } from '../units.ts';
import { answerRequest, measureApart } from './bench-child.ts';
import { type BenchFacts, benchJson, benchTable, benchTables, benchTexts } from './bench-report.ts';
import { interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  countFrom,
  jsonOption,
  kvDTypeOption,
  numberArgument,
  threadsOption,
} from './options.ts';
import { textBeginning } from './read-text.ts';
import { withModel } from './run.ts';
import { withTemporaryFile } from './temporary-file.ts';
import { note, print, printJson, showProgress } from './terminal.ts';

export interface BenchFlags {
  readonly dramBudget: Size;
  readonly rows: readonly RowName[];
  readonly prompt?: string;
  readonly data?: string;
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly maxSeconds: number;
  readonly repeat: number;
  readonly window: number;
  readonly temperature: number;
  readonly seed: number;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly scratch?: string;
  readonly label?: string;
  readonly svg?: string;
  readonly html?: string;
  readonly json?: boolean;
  readonly rowRequest?: string;
}

export function benchCommand(): Command {
  const half = parseSize('50%', 'the value');
  return new Command('bench')
    .description(
      "measure the configurations of the paper's tables, and flashllm's default, on this machine",
    )
    .argument('<model>', 'model directory')
    .addOption(budgetOption('memory for the whole process').default(half, '50%'))
    .addOption(
      new Option('--rows <names>', `rows to measure: ${rowNames.join(', ')}`)
        .argParser(rowsArgument)
        .default(rowNames, 'all'),
    )
    .option('--prompt <text>', 'prompt; repeated or cut to --prompt-tokens tokens')
    .option('--data <file>', 'file with the prompt')
    .option('--prompt-tokens <n>', 'length of the prompt in tokens', countFrom(1), 128)
    .option('--max-tokens <n>', 'tokens to generate', countFrom(2), 256)
    .option('--max-seconds <s>', 'stop measuring a row after this many seconds', countFrom(1), 120)
    .option('--repeat <n>', 'times that each row is measured', countFrom(1), 3)
    .option('--window <k>', "size of the paper's sliding window, in tokens", countFrom(1), 4)
    .option(
      '--temperature <t>',
      '0 takes the most likely token',
      numberArgument,
      usualSampling.temperature,
    )
    .option('--seed <n>', 'seed of the sampler', countArgument, 1)
    .addOption(threadsOption())
    .addOption(kvDTypeOption())
    .option(
      '--scratch <dir>',
      'directory for the temporary file of unbundled neurons; default: beside the model directory',
    )
    .option('--label <text>', 'name of the model in tables and charts')
    .option('--svg <file>', 'write a chart to this file')
    .option('--html <file>', 'write a page with chart and table to this file')
    .addOption(jsonOption())
    .addOption(new Option('--row-request <json>').hideHelp())
    .action(run);
}

function rowsArgument(text: string): RowName[] {
  const wanted = text.split(',').map((name) => name.trim());
  const unknown = wanted.find((name) => !rowNames.some((known) => known === name));
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`'${unknown}' is none of ${rowNames.join(', ')}.`);
  }
  return rowNames.filter((name) => wanted.includes(name));
}

async function run(dir: string, flags: BenchFlags): Promise<void> {
  if (flags.rowRequest !== undefined) return answerRequest(flags.rowRequest);
  await withModel(dir, async (model) => {
    const rows = rowsFor(model, flags.rows);
    const plain = await requestFor(dir, model, flags);
    const runs = await measureAll(model, plain, rows, flags);
    const facts = { model, dir, flags, request: plain, runs };
    await writeCharts(facts, flags);
    if (flags.json) printJson(benchJson(facts));
    else print(benchTable(facts));
  });
}

/** The rows that this model can run: without predictors, only those that need none. */
function rowsFor(model: Model, wanted: readonly RowName[]): readonly RowName[] {
  if (model.predictors !== null) return wanted;
  const rows = wanted.filter((name) => !needsPredictors(rowSpec(name)));
  if (rows.length === 0) {
    throw new InputError(
      `the rows ${wanted.join(', ')} need predictors, and the model has none`,
      {},
      'Train them with predict-train',
    );
  }
  if (rows.length < wanted.length) {
    note(
      model.manifest.spec.ffn.experts === undefined
        ? 'no predictors: only rows that need none are measured; train predictors with predict-train'
        : 'a mixture of experts needs no predictors: rows with them are left out',
    );
  }
  return rows;
}

async function requestFor(
  dir: string,
  model: Model,
  flags: BenchFlags,
): Promise<Omit<RowRequest, 'row' | 'unbundled'>> {
  const { prompt, data, promptTokens, maxTokens } = flags;
  const { maxPositions } = model.manifest.spec;
  if (promptTokens + maxTokens - 1 > maxPositions) {
    throw new InputError(
      `a prompt of ${promptTokens} tokens and ${maxTokens} generated tokens exceed the model's context of ${maxPositions} positions`,
      {},
      'Give smaller --prompt-tokens or --max-tokens',
    );
  }
  if (prompt !== undefined && data !== undefined) {
    throw new InputError('give either --prompt or --data, not both');
  }
  const given = data === undefined ? defaultPrompt : await textBeginning(data, promptTokens);
  const text = prompt ?? given;
  if (text.trim() === '') throw new InputError('the prompt is empty');
  return {
    model: dir,
    budget: resolveSize(flags.dramBudget, model.weightBytes),
    promptIds: promptOf((part) => model.tokenizer.encodePrompt(part), text, promptTokens),
    maxTokens,
    maxMs: 1000 * flags.maxSeconds,
    window: flags.window,
    sampling: { ...usualSampling, temperature: flags.temperature, seed: flags.seed },
    kvDtype: flags.kvDtype,
    threads: flags.threads ?? null,
  };
}

/** Measures all rows in turn, so that changes of load affect each of them alike. */
async function measureAll(
  model: Model,
  request: Omit<RowRequest, 'row' | 'unbundled'>,
  rows: readonly RowName[],
  flags: BenchFlags,
): Promise<RowRun[]> {
  const measure = async (unbundled: string | null) => {
    const runs: RowRun[] = [];
    const progress = showProgress('measuring', flags.json);
    try {
      const total = flags.repeat * rows.length;
      for (let done = 0; done < total; done++) {
        if (interruption.aborted) throw new InterruptedError();
        const row = rows[done % rows.length] ?? 'naive';
        progress.update(done, total, `measuring ${rowSpec(row).title}`);
        runs.push(await measureApart({ ...request, row, unbundled }));
      }
    } finally {
      progress.stop();
    }
    return runs;
  };
  const apart = rowSpecs.some(({ name, unbundled }) => unbundled && rows.includes(name));
  if (!apart) return measure(null);
  const dir = resolve(model.files.dir);
  const place = join(flags.scratch ?? dirname(dir), basename(dir));
  await sweepBeside(place, ['unbundled']);
  const file = ownedName(place, 'unbundled');
  note(
    `writing a temporary, unbundled copy of the neurons to ${file} for the rows without bundling`,
  );
  return withTemporaryFile(file, async () => {
    const progress = showProgress('unbundling', flags.json);
    const onProgress = (done: number, total: number) => progress.update(done, total);
    await writeUnbundled(model.files, file, onProgress, interruption).finally(() =>
      progress.stop(),
    );
    return measure(file);
  });
}

async function writeCharts(facts: BenchFacts, { svg, html }: BenchFlags): Promise<void> {
  const { rows } = benchJson(facts);
  const texts = benchTexts(facts);
  const write = async (file: string, content: string) => {
    const aside = await isReplaceable(file);
    try {
      if (aside) await writeAside(file, (out) => out.writeFile(content));
      else await writeFile(file, content);
    } catch (cause) {
      const error = writeError(cause, file);
      throw aside ? withNothingLeft(error) : error;
    }
  };
  if (svg !== undefined) await write(svg, chartSvg(rows, texts));
  if (html !== undefined) await write(html, chartHtml(rows, texts, benchTables(facts)));
}
