import { Command } from 'commander';
import { usualQueue } from '../serve/job-queue.ts';
import { usualContext } from './context.ts';
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
import type { ServeFlags } from './serve-flags.ts';

export function serveCommand(): Command {
  const command = new Command('serve')
    .description(
      "serve OpenAI's API over HTTP, several requests at once, with a web page to try the model",
    )
    .argument('<model>', 'model directory')
    .option('--host <address>', 'address to listen on; 0.0.0.0 for the whole network', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 takes a free one', countFrom(0, 65535), 8080)
    .option('--parallel <n>', 'requests answered at the same time', parallelArgument, 4)
    .option(
      '--queue <n>',
      'the most requests that wait; further ones are refused',
      countArgument,
      usualQueue,
    )
    .option(
      '--context <n>',
      `positions of each conversation; default: the model's, at most ${usualContext}, fewer if a small budget needs it`,
      countArgument,
    )
    .option(
      '--template <name or file>',
      "another chat template: one of the model's by its name, or a file",
    )
    .option(
      '--api-key <key>',
      'key that clients must send; set it in the environment variable FLASHLLM_API_KEY to keep it out of process lists',
    )
    .option(
      '--allow-host <name>',
      'also answer requests for this host name; may be given several times',
      listArgument,
    )
    .option(
      '--allow-origin <origin>',
      'also answer web pages of this origin; may be given several times',
      listArgument,
    )
    .option('--no-grammars', 'disable JSON schemas and forced tool calls; saves memory')
    .addOption(budgetOption('memory for the whole process; default: 90% of what is available'))
    .addOption(windowOption())
    .addOption(threadsOption())
    .addOption(kvDTypeOption())
    .addOption(exactOption())
    .addOption(expertsOption())
    .action(run);
  return withDraftOptions(command);
}

async function run(dir: string, flags: ServeFlags): Promise<void> {
  // Loaded on demand: other commands do not need an HTTP server in memory.
  const { serveDirectory } = await import('./serve-model.ts');
  await serveDirectory(dir, flags);
}
