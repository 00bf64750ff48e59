import { Command } from 'commander';
import { documentsOf } from '../engine/documents.ts';
import { evaluate } from '../engine/evaluate.ts';
import { InputError } from '../errors.ts';
import type { Size } from '../units.ts';
import { interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  exactOption,
  jsonOption,
  threadsOf,
  threadsOption,
} from './options.ts';
import { textBytes, textParts } from './read-text.ts';
import { chooseBudget, statsTable, withModel, withSession } from './run.ts';
import { print, printJson, showProgress } from './terminal.ts';

interface EvalFlags {
  readonly data: string;
  readonly context?: number;
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly exact?: boolean;
  readonly json?: boolean;
}

export function evalCommand(): Command {
  return new Command('eval')
    .description('measure negative log-likelihood and perplexity on a text')
    .argument('<model>', 'model directory')
    .requiredOption('--data <file>', 'text; lines that hold only <|endoftext|> part documents')
    .option(
      '--context <n>',
      "positions of a window; default: the model's, at most 2048",
      countArgument,
    )
    .addOption(budgetOption('memory for the whole process; default: what the machine can give'))
    .addOption(threadsOption())
    .addOption(exactOption())
    .addOption(jsonOption())
    .action(run);
}

const longestDefaultContext = 2048;

async function run(dir: string, flags: EvalFlags): Promise<void> {
  const bytes = await textBytes(flags.data, 'the text');
  const result = await withModel(dir, (model) => {
    const { maxPositions } = model.manifest.spec;
    const context = flags.context ?? Math.min(maxPositions, longestDefaultContext);
    if (context < 2 || context > maxPositions) {
      throw new InputError(`--context must be from 2 to ${maxPositions}, not ${context}`);
    }
    const budget = chooseBudget(model, flags.dramBudget);
    // A window is never longer than the text, and a token has at least a byte.
    const longest = Math.max(2, Math.min(context, bytes + 1));
    const request = { budget, context: longest, logits: 'all', ...threadsOf(flags) } as const;
    return withSession(model, request, flags.json ?? false, async (session) => {
      const progress = showProgress('evaluating', flags.json);
      try {
        return await evaluate(session, {
          documents: documentsOf(textParts(flags.data, 'the text')),
          context,
          signal: interruption,
          onProgress: (done) => progress.update(done, bytes),
        });
      } finally {
        progress.stop();
      }
    });
  });
  if (flags.json) {
    printJson(result);
    return;
  }
  print(
    `tokens ${result.tokens}\nnll ${result.nll.toFixed(6)}\n` +
      `perplexity ${result.perplexity.toFixed(4)}\n`,
  );
  process.stderr.write(statsTable(result.stats));
}
