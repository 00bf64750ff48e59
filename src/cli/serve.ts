import { Command } from 'commander';
import { usualQueue } from '../serve/job-queue.ts';
import { withDraftOptions } from './draft.ts';
import {
  budgetOption,
  countArgument,
  countFrom,
  exactOption,
  expertsOption,
  kvDTypeOption,
  listArgument,
  parallelArgument,
  threadsOption,
  windowOption,
} from './options.ts';
import { usualContext } from './run.ts';
import type { ServeFlags } from './serve-flags.ts';

export function serveCommand(): Command {
  const command = new Command('serve')
    .description(
      "answer requests of OpenAI's API over HTTP, many at once, and a page to try the model",
    )
    .argument('<model>', 'model directory')
    .option('--host <address>', 'where to listen; 0.0.0.0 for the whole network', '127.0.0.1')
    .option('--port <n>', 'port to listen at; 0 takes a free one', countFrom(0, 65535), 8080)
    .option('--parallel <n>', 'requests that are answered at the same time', parallelArgument, 4)
    .option('--queue <n>', 'requests that may wait; more are refused', countArgument, usualQueue)
    .option(
      '--context <n>',
      `positions of each conversation; default: what the model has, up to ${usualContext}`,
      countArgument,
    )
    .option(
      '--template <name or file>',
      "another chat template: one of the model's by its name, or a file",
    )
    .option('--api-key <key>', 'what clients must send; better set FLASHLLM_API_KEY')
    .option(
      '--allow-host <name>',
      'answer requests for this host name, too; may be given several times',
      listArgument,
    )
    .option(
      '--allow-origin <origin>',
      'answer pages of this origin, too; may be given several times',
      listArgument,
    )
    .option('--no-grammars', 'no JSON schemas and demanded calls of tools; saves their memory')
    .addOption(budgetOption('memory for the whole process; default: what the machine can give'))
    .addOption(windowOption())
    .addOption(threadsOption())
    .addOption(kvDTypeOption())
    .addOption(exactOption())
    .addOption(expertsOption())
    .action(run);
  return withDraftOptions(command);
}

async function run(dir: string, flags: ServeFlags): Promise<void> {
  // Other commands have no use for an HTTP server in their memory.
  const { serveDirectory } = await import('./serve-model.ts');
  await serveDirectory(dir, flags);
}
