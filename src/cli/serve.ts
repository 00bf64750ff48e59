import { isIP } from 'node:net';
import { Command, InvalidArgumentError } from 'commander';
import type { KvDType } from '../dtype.ts';
import type { Model } from '../engine/model.ts';
import type { RunRequest } from '../engine/run-request.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { PolicyName } from '../residency/store-policy.ts';
import { ModelServer, type ServeOptions, serveBytes, usualQueue } from '../serve/model-server.ts';
import type { Size } from '../units.ts';
import { noteChoice } from './ffn-choice.ts';
import { extendGrace, interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  exactOption,
  kvDTypeOption,
  listArgument,
  parallelArgument,
  threadsOf,
  threadsOption,
  windowOption,
} from './options.ts';
import {
  chooseBudget,
  chosenTemplates,
  contextOf,
  usualContext,
  withModel,
  withRuntime,
} from './run.ts';
import { note } from './terminal.ts';

interface ServeFlags {
  readonly host: string;
  readonly port: number;
  readonly parallel: number;
  readonly queue: number;
  readonly context?: number;
  readonly template?: string;
  readonly apiKey?: string;
  readonly allowHost?: string[];
  readonly allowOrigin?: string[];
  readonly grammars: boolean;
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly window: PolicyName;
  readonly exact?: boolean;
}

/** How long answers under way are waited for when the server is told to end. */
const drainMs = 30_000;

export function serveCommand(): Command {
  return new Command('serve')
    .description(
      "answer requests of OpenAI's API over HTTP, many at once, and a page to try the model",
    )
    .argument('<model>', 'model directory')
    .option('--host <address>', 'where to listen; 0.0.0.0 for the whole network', '127.0.0.1')
    .option('--port <n>', 'port to listen at; 0 takes a free one', portArgument, 8080)
    .option('--parallel <n>', 'requests that are answered at the same time', parallelArgument, 4)
    .option('--queue <n>', 'requests that may wait; more are refused', countArgument, usualQueue)
    .option(
      '--context <n>',
      `positions of each conversation; default: what the model has, up to ${usualContext}`,
      countArgument,
    )
    .option('--template <file>', "a chat template in place of the model's own")
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
    .action(run);
}

function portArgument(text: string): number {
  const port = countArgument(text);
  if (port <= 65535) return port;
  throw new InvalidArgumentError('It is not a number from 0 to 65535.');
}

async function run(dir: string, flags: ServeFlags): Promise<void> {
  await withModel(dir, (model) => serveModel(model, flags), { predictors: flags.exact !== true });
}

async function serveModel(model: Model, flags: ServeFlags): Promise<void> {
  const { spec } = model.manifest;
  const sizes = {
    context: contextOf(flags.context, spec.maxPositions),
    sequences: flags.parallel,
  };
  const request: RunRequest = {
    budget: chooseBudget(model, flags.dramBudget),
    ownBytes: serveBytes(sizes, spec.vocabSize, flags),
    ...sizes,
    kvDtype: flags.kvDtype,
    window: flags.window,
    ffn: flags.exact ? 'exact' : 'auto',
    ...threadsOf(flags),
  };
  const templates =
    flags.template === undefined ? undefined : await chosenTemplates(model, flags.template);
  // A template that is none is told before anything is loaded.
  templates?.choose(false);
  const options: ServeOptions = {
    request,
    queue: flags.queue,
    templates,
    grammars: flags.grammars,
    apiKey: flags.apiKey ?? (process.env.FLASHLLM_API_KEY || undefined),
    allowHosts: [...(flags.allowHost ?? []), ...namesOf(flags.host)],
    allowOrigins: flags.allowOrigin,
    log: note,
  };
  await withRuntime(model, request, false, (runtime) => listen(runtime, options, flags));
}

/** A name that one listens at is one's own. */
function namesOf(host: string): string[] {
  return isIP(host) === 0 ? [host] : [];
}

async function listen(runtime: Runtime, options: ServeOptions, flags: ServeFlags): Promise<void> {
  noteChoice(runtime.plan);
  const server = await ModelServer.create(runtime, options);
  try {
    const { address, port } = await server.listen(flags);
    const isLocal = address === '::1' || address.startsWith('127.');
    if (!isLocal && options.apiKey === undefined) {
      note('whoever reaches this machine may use the model: set FLASHLLM_API_KEY');
    }
    const host = address.includes(':') ? `[${address}]` : address;
    note(`listening at http://${host}:${port} (${flags.parallel} at once); Ctrl-C ends`);
    await interrupted();
    note('ending when requests under way are answered; once more ends at once');
    const broken = await server.drain(drainMs);
    if (broken > 0) note(`${broken} requests were broken off after ${drainMs / 1000} s`);
  } finally {
    await server.close();
  }
}

/** Waits until the user wants to stop, which then takes as long as answers do. */
function interrupted(): Promise<void> {
  // Longer than the drain, whose own end is a clean one.
  extendGrace(drainMs + 5000);
  return new Promise((resolve) => {
    if (interruption.aborted) resolve();
    else interruption.addEventListener('abort', () => resolve(), { once: true });
  });
}
