import { Command } from 'commander';
import type { BatchFlags } from './batch-flags.ts';
import { withDraftOptions } from './draft.ts';
import {
  budgetOption,
  countArgument,
  exactOption,
  expertsOption,
  jsonOption,
  kvDTypeOption,
  parallelArgument,
  threadsOption,
  windowOption,
} from './options.ts';

export function batchCommand(): Command {
  const command = new Command('batch')
    .description("answer a file of requests in OpenAI's batch format; resumes an interrupted run")
    .argument('<model>', 'model directory')
    .argument('<in.jsonl>', 'requests, one per line')
    .argument('<out.jsonl>', 'results, one per line; results that the file already holds are kept')
    .option('--parallel <n>', 'requests answered at the same time', parallelArgument, 4)
    .option(
      '--context <n>',
      'positions of a prompt and its answer; default: what the longest request can need',
      countArgument,
    )
    .option('--max-tokens <n>', 'max_tokens of requests that do not set it', countArgument, 256)
    .option(
      '--seed <n>',
      'base of the seeds of requests that set none; the same base gives the same texts',
      countArgument,
      0,
    )
    .option(
      '--template <name or file>',
      "for chats: another template: one of the model's by its name, or a file",
    )
    .addOption(budgetOption('memory for the whole process; default: 90% of what is available'))
    .addOption(windowOption())
    .addOption(threadsOption())
    .addOption(kvDTypeOption())
    .addOption(exactOption())
    .addOption(expertsOption())
    .addOption(jsonOption())
    .action(run);
  return withDraftOptions(command);
}

async function run(dir: string, from: string, to: string, flags: BatchFlags): Promise<void> {
  // Loaded on demand: other commands do not need this code in memory.
  const { answerBatch } = await import('./batch-file.ts');
  await answerBatch(dir, from, to, flags);
}
