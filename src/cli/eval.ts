import { Command } from 'commander';
import { documentParts } from '../engine/documents.ts';
import { type EvaluateResult, evaluate, type PredictorFigures } from '../engine/evaluate.ts';
import { simulateStores } from '../engine/model.ts';
import { type ReadingFactors, recordingBytes } from '../engine/reading-factors.ts';
import { InputError } from '../errors.ts';
import { formatBytes } from '../units.ts';
import { noteFewerExperts } from './ffn-choice.ts';
import { interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  exactOption,
  expertsOf,
  expertsOption,
  jsonOption,
  kvDTypeOption,
  type RunFlags,
  threadsOf,
  threadsOption,
  windowOption,
} from './options.ts';
import { findText, type TextFile, textParts } from './read-text.ts';
import { chooseBudget, statsTable, withModel, withRuntime } from './run.ts';
import { table } from './table.ts';
import { noteLines, print, printJson, showProgress } from './terminal.ts';

interface EvalFlags extends RunFlags {
  readonly data: string;
  readonly context?: number;
  readonly json?: boolean;
}

export function evalCommand(): Command {
  return new Command('eval')
    .description('measure negative log-likelihood and perplexity on a text')
    .argument('<model>', 'model directory')
    .requiredOption(
      '--data <file>',
      'text file; a line with only <|endoftext|> separates two documents',
    )
    .option(
      '--context <n>',
      "positions of a window; default: the model's context, at most 2048",
      countArgument,
    )
    .addOption(budgetOption('memory for the whole process; default: 90% of what is available'))
    .addOption(windowOption())
    .addOption(threadsOption())
    .addOption(kvDTypeOption())
    .addOption(exactOption())
    .addOption(expertsOption())
    .addOption(jsonOption())
    .action(run);
}

const longestDefaultContext = 2048;

async function run(dir: string, flags: EvalFlags): Promise<void> {
  const text = await findText(flags.data, 'the text');
  const result = await withModel(
    dir,
    (model) => {
      const { maxPositions } = model.manifest.spec;
      const context = flags.context ?? Math.min(maxPositions, longestDefaultContext);
      if (context < 2 || context > maxPositions) {
        throw new InputError(`--context must be from 2 to ${maxPositions}, not ${context}`);
      }
      const budget = chooseBudget(model, flags.dramBudget);
      // A window is never longer than the text, and a token has at least a byte.
      const longest = Math.max(2, Math.min(context, (text.bytes ?? context) + 1));
      const asked = { ...threadsOf(flags), ...expertsOf(flags) };
      const common = { budget, kvDtype: flags.kvDtype, ...asked };
      const ffn = flags.exact ? 'exact' : 'measured';
      const measured = !flags.exact && model.predictors !== null;
      const ownBytes = measured ? recordingBytes(model.manifest.layers) : 0;
      const request = { ...common, context: longest, logits: 'all', ffn, ownBytes } as const;
      const stores = measured
        ? simulateStores(model, model.plan({ ...common, context }), flags.window)
        : null;
      return withRuntime(model, request, flags.json ?? false, async (runtime) => {
        noteFewerExperts(model.manifest.spec, flags.experts);
        const sequence = runtime.sequence();
        const progress = showProgress('evaluating', flags.json);
        try {
          return await evaluate(sequence, {
            documents: documentParts(textParts(text, 'the text')),
            context,
            stores,
            signal: interruption,
            onProgress: (tokens) => progress.update(...shareRead(text, tokens)),
          });
        } finally {
          progress.stop();
        }
      });
    },
    { predictors: flags.exact !== true },
  );
  if (flags.json) {
    printJson(result);
    return;
  }
  print(
    `tokens ${result.tokens}\nnll ${result.nll.toFixed(6)}\n` +
      `perplexity ${result.perplexity.toFixed(4)}\n`,
  );
  if (result.predictor !== null) {
    print(predictorLines(result, result.predictor));
    if (result.predictor.reading !== null) print(readingLines(result.predictor.reading));
  }
  noteLines(statsTable(result.stats));
}

/** How far a text has been read; if its length is unknown, the tokens so far. */
function shareRead({ bytes, bytesRead }: TextFile, tokens: number): [number, number, string] {
  const name = `evaluating, ${tokens} tokens`;
  return bytes === null ? [tokens, Number.POSITIVE_INFINITY, name] : [bytesRead, bytes, name];
}

function predictorLines({ perplexity, top1Agreement }: EvaluateResult, figures: PredictorFigures) {
  const share = (value: number) => `${(100 * value).toFixed(2)}%`;
  const { exactPerplexity, recall, precision, mass, active, predicted } = figures;
  return table(
    ['', ''],
    [
      ['perplexity with every neuron', exactPerplexity.toFixed(4)],
      ['difference', share(perplexity / exactPerplexity - 1)],
      ['agreement of the most likely token', share(top1Agreement)],
      ['neurons that fire', share(active)],
      [
        'neurons predicted',
        `${share(predicted)}, ${(predicted / active).toFixed(2)} times those that fire`,
      ],
      ['recall', share(recall)],
      ['precision', share(precision)],
      ['activation mass kept', share(mass)],
      [
        'flash per generated token',
        `${formatBytes(figures.flashBytesPerToken)}, ${share(figures.hitRate)} of neurons in DRAM`,
      ],
    ],
  );
}

/** The factors of what a token reads from flash, and the reads that no store could avoid. */
function readingLines(reading: ReadingFactors): string {
  const { activeBytes, predictedBytes, missedBytes, readBytes, reads, dramShare } = reading;
  const { bound, aggregated, necessaryBytes } = reading;
  /** `part` as a multiple of `whole`; empty if `whole` is 0. */
  const times = (part: number, whole: number, of: string) =>
    whole === 0 ? '' : `${(part / whole).toFixed(2)} times ${of}`;
  const kept = `where ${(100 * dramShare).toFixed(1)}% of all neurons are kept`;
  const rows: [name: string, bytes: number, meaning: string][] = [
    ['firing', activeBytes, ''],
    ['predicted', predictedBytes, times(predictedBytes, activeBytes, 'those that fire')],
    ['missed', missedBytes, times(missedBytes, predictedBytes, 'those predicted')],
    [
      'read',
      readBytes,
      `${times(readBytes, missedBytes, 'those missed')} (${reads.toFixed(0)} reads)`,
    ],
    [
      `missed, first ${bound.tokens} tokens`,
      bound.missedBytes,
      times(bound.missedBytes, bound.leastBytes, 'the least that any store could miss'),
    ],
    ['newly firing', necessaryBytes, kept],
    ['read, as above', readBytes, times(readBytes, necessaryBytes, 'those newly firing')],
  ];
  const factors = table(
    ['neurons per generated token', 'bytes', ''],
    rows.map(([name, bytes, meaning]) => [name, formatBytes(bytes), meaning.trim()]),
  );
  if (aggregated.length === 0) return factors;
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  const use = table(
    ['tokens', ...aggregated.map(({ k }) => `${k}`)],
    [
      ['used by any, s_agg', ...aggregated.map(({ used }) => percent(used))],
      ['newly needed', ...aggregated.map(({ needed }) => percent(needed))],
    ],
  );
  return `${factors}${use}`;
}
