/** The work of `serve`. */

import { isIP } from 'node:net';
import type { Model } from '../engine/model.ts';
import type { RunRequest } from '../engine/run-request.ts';
import type { Runtime } from '../engine/runtime.ts';
import { ModelServer, type ServeOptions, serveBytes } from '../serve/model-server.ts';
import { contextsOf } from './context.ts';
import { withDraftedRuntime } from './draft.ts';
import { noteChoice, noteFewerExperts } from './ffn-choice.ts';
import { extendGrace, interruption } from './interrupt.ts';
import { expertsOf, threadsOf } from './options.ts';
import { chooseBudget, chosenTemplates, withModel } from './run.ts';
import type { ServeFlags } from './serve-flags.ts';
import { note } from './terminal.ts';

/** How long a stopping server waits for answers under way, in milliseconds. */
const drainMs = 30_000;

/** Loads a model and answers requests until the user wants to stop. */
export async function serveDirectory(dir: string, flags: ServeFlags): Promise<void> {
  await withModel(dir, (model) => serveModel(model, flags), { predictors: flags.exact !== true });
}

async function serveModel(model: Model, flags: ServeFlags): Promise<void> {
  const { spec } = model.manifest;
  const [most, ...fewer] = contextsOf(flags.context, spec.maxPositions);
  const budget = chooseBudget(model, flags.dramBudget);
  const requestFor = (context: number): RunRequest => {
    const sizes = { context, sequences: flags.parallel };
    return {
      budget,
      ownBytes: serveBytes(sizes, spec.vocabSize, flags),
      ...sizes,
      kvDtype: flags.kvDtype,
      window: flags.window,
      ffn: flags.exact ? 'exact' : 'auto',
      ...threadsOf(flags),
      ...expertsOf(flags),
    };
  };
  const request = requestFor(most);
  const templates =
    flags.template === undefined ? undefined : await chosenTemplates(model, flags.template);
  // An unusable template is reported before anything is loaded.
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
  const requests = [request, ...fewer.map(requestFor)] as const;
  await withDraftedRuntime(model, flags, requests, false, (runtime, draft) =>
    listen(runtime, { ...options, draft }, flags),
  );
}

/** A host name that the server listens on is allowed in requests. */
function namesOf(host: string): string[] {
  return isIP(host) === 0 ? [host] : [];
}

async function listen(runtime: Runtime, options: ServeOptions, flags: ServeFlags): Promise<void> {
  noteChoice(runtime.plan);
  noteFewerExperts(runtime.model.manifest.spec, flags.experts);
  const server = await ModelServer.create(runtime, options);
  try {
    const { address, port } = await server.listen(flags);
    const isLocal = address === '::1' || address.startsWith('127.');
    if (!isLocal && options.apiKey === undefined) {
      note(
        'everyone who can reach this machine can use the model; set FLASHLLM_API_KEY to require a key',
      );
    }
    const host = address.includes(':') ? `[${address}]` : address;
    note(
      `listening at http://${host}:${port} (${flags.parallel} requests at once); Ctrl-C stops the server`,
    );
    await interrupted();
    note('stopping once the requests under way are answered; a second Ctrl-C stops at once');
    const broken = await server.drain(drainMs);
    if (broken > 0) note(`${broken} requests were aborted after ${drainMs / 1000} s`);
  } finally {
    await server.close();
  }
}

/** Waits until the user wants to stop, and then allows time for the answers under way. */
function interrupted(): Promise<void> {
  // Longer than the drain, so that its clean end comes first.
  extendGrace(drainMs + 5000);
  return new Promise((resolve) => {
    if (interruption.aborted) resolve();
    else interruption.addEventListener('abort', () => resolve(), { once: true });
  });
}
