/** A server on the bundled model in the process of the test. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { templatesInFile } from '../../src/chat/chat-templates.ts';
import { Model } from '../../src/engine/model.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { Runtime } from '../../src/engine/runtime.ts';
import { ModelServer, type ServeOptions } from '../../src/serve/model-server.ts';
import { converted } from '../engine/support.ts';
import { storiesOpt } from '../support/fixtures.ts';
import type { TemporaryRoot } from '../support/temporary.ts';
import { chatml } from './template.ts';

export interface TestServer {
  readonly server: ModelServer;
  readonly runtime: Runtime;
  /** Where it listens, without a path. */
  readonly url: string;
  readonly client: OpenAI;
  /** What it has logged. */
  readonly log: string[];
  readonly close: () => Promise<void>;
}

export interface TestServerOptions extends Omit<ServeOptions, 'request' | 'templates' | 'log'> {
  readonly context?: number;
  readonly parallel?: number;
}

/** The bundled model's directory. */
export function storiesModel(root: TemporaryRoot): Promise<string> {
  return converted(root, storiesOpt);
}

/** Starts a server, to be closed when the tests have ended. */
export async function startServer(
  root: TemporaryRoot,
  dir: string,
  { context = 512, parallel = 4, ...options }: TestServerOptions = {},
): Promise<TestServer> {
  const model = await Model.open(dir);
  // What the budget holds is another test's subject.
  const request: RunRequest = { budget: 2 ** 31, context, sequences: parallel };
  const runtime = await Runtime.open(model, { ...request, threads: 1 });
  const file = join(root.directory(), 'template.jinja');
  writeFileSync(file, chatml);
  const templates = await templatesInFile(file, model.tokenizer.roles);
  const log: string[] = [];
  const server = await ModelServer.create(runtime, {
    ...options,
    request,
    templates,
    log: (line) => log.push(line),
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const close = async () => {
    await server.close();
    await runtime.close();
    model.close();
  };
  const url = `http://127.0.0.1:${port}`;
  const apiKey = options.apiKey ?? 'none';
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
  return { server, runtime, url, client, log, close };
}

/** Waits until `holds`, for a few seconds at most. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  for (const started = performance.now(); !holds(); ) {
    if (performance.now() - started > 10_000) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
