/** Batches for tests: files, an engine that answers by a rule, and a run as the command makes it. */

import { writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { readEarlierResults } from '../../src/batch/earlier-results.ts';
import type { Engine, EngineCall } from '../../src/batch/engine.ts';
import { Journal, type JournalFile, Output } from '../../src/batch/journal.ts';
import { type RunCounts, runBatch } from '../../src/batch/run.ts';
import { surveyInput } from '../../src/batch/survey.ts';
import { PromptTooLongError } from '../../src/engine/prompt.ts';
import { InputError } from '../../src/errors.ts';
import type { ChatChoice } from '../../src/openai/chat-answer.ts';
import { ChatAssembler } from '../../src/openai/chat-assembler.ts';
import type { PreparedChat, PrepareOptions } from '../../src/openai/chat-prompt.ts';
import type { ChatRequest } from '../../src/openai/chat-request.ts';
import type { Completion } from '../../src/openai/completion.ts';

/** What tests read of a result. */
export interface Result {
  readonly id: string;
  readonly custom_id: string | null;
  readonly response: null | {
    readonly status_code: number;
    readonly body: {
      readonly choices?: readonly {
        readonly text: string;
        readonly message?: ChatChoice['message'];
        readonly finish_reason: string;
      }[];
      readonly usage?: Readonly<Record<string, number>>;
      readonly error?: { readonly code: string; readonly message: string };
    };
  };
  readonly error: null | {
    readonly code: string;
    readonly message: string;
    readonly param: string | null;
    readonly line: number;
  };
}

export function parseResults(text: string): Result[] {
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Result]));
}

/** A line that asks for a completion. */
export function request(customId: string, prompt: unknown, body: object = {}): string {
  const whole = { prompt, ...body };
  return JSON.stringify({
    custom_id: customId,
    method: 'POST',
    url: '/v1/completions',
    body: whole,
  });
}

/** A line that asks for the answer to a chat. */
export function chatRequest(customId: string, body: object): string {
  const url = '/v1/chat/completions';
  return JSON.stringify({ custom_id: customId, method: 'POST', url, body });
}

/** Tokens are characters; the answer is the prompt backwards. */
export class RuleEngine implements Engine {
  readonly model = 'rule';
  readonly fingerprint: string;
  readonly context = 100;
  readonly maxContext = 200;
  readonly calls: EngineCall[] = [];
  inFlight = 0;
  mostInFlight = 0;
  /** Called before an answer is given. */
  before: (call: EngineCall) => Promise<void> = async () => {};

  constructor(fingerprint = 'fp_rule') {
    this.fingerprint = fingerprint;
  }

  async encode(prompt: string | readonly number[]): Promise<readonly number[]> {
    if (prompt.length > this.context) throw new PromptTooLongError(`${prompt.length}`, 100, '');
    if (prompt === 'cursed') throw new InputError('cannot be tokenised');
    return typeof prompt === 'string' ? [...prompt].map((char) => char.charCodeAt(0)) : prompt;
  }

  /** The last message is the prompt. */
  async prepareChat(
    { messages, maxTokens }: ChatRequest,
    { usualTokens }: PrepareOptions,
  ): Promise<PreparedChat> {
    const promptIds = await this.encode(String(messages.at(-1)?.content));
    const parts = { prompt: '', toolFormat: null, toolNames: [], thinks: true };
    return {
      answer: { promptIds, form: null, keepSpecial: false },
      maxTokens: maxTokens ?? usualTokens,
      toolFormat: null,
      assembler: () => new ChatAssembler(parts),
    };
  }

  async complete(call: EngineCall): Promise<Completion> {
    this.calls.push(call);
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    try {
      await this.before(call);
      call.onTokens(1);
      const made = [...call.promptIds].reverse().slice(0, call.maxTokens);
      return {
        text: String.fromCharCode(...made),
        promptTokens: call.promptIds.length,
        tokens: made.length,
        finishReason: made.length < call.promptIds.length ? 'length' : 'stop',
      };
    } finally {
      this.inFlight--;
    }
  }
}

/** Paths of the two files of a batch. */
export interface BatchFiles {
  readonly input: string;
  readonly output: string;
}

export function batchFiles(dir: string, lines: readonly string[]): BatchFiles {
  const files = { input: join(dir, 'in.jsonl'), output: join(dir, 'out.jsonl') };
  writeFileSync(files.input, lines.map((line) => `${line}\n`).join(''));
  return files;
}

export interface RunOnceOptions {
  readonly engine?: Engine;
  readonly parallel?: number;
  readonly signal?: AbortSignal;
  /** Takes the place of the output's file handle in the journal. */
  readonly wrap?: (file: JournalFile) => JournalFile;
  /** Called between the two passes. */
  readonly between?: () => void;
}

/** What the command does but for its model. */
export async function runOnce(
  files: BatchFiles,
  options: RunOnceOptions = {},
): Promise<RunCounts & { readonly before: number; readonly lines: number }> {
  const source = await open(files.input);
  try {
    return await runOpened(files, source, options);
  } finally {
    await source.close();
  }
}

async function runOpened(
  { input, output }: BatchFiles,
  source: FileHandle,
  { engine = new RuleEngine(), parallel = 3, wrap, ...options }: RunOnceOptions,
): ReturnType<typeof runOnce> {
  const signal = options.signal ?? new AbortController().signal;
  const onProgress = () => {};
  const claimed = await Output.claim(output, source);
  try {
    const file = { path: input, source, bytes: (await source.stat()).size };
    const { table } = await surveyInput(file, {
      ...{ maxTokens: 16, measureChat: async () => 0, signal, onProgress },
    });
    const earlier =
      claimed.found === null
        ? { answered: 0, bytes: 0 }
        : await readEarlierResults(claimed.found, { table, by: engine, input, signal, onProgress });
    options.between?.();
    const journal = wrap
      ? new Journal(wrap(await open(output, 'a+')), output, earlier.bytes)
      : await claimed.begin(earlier.bytes);
    try {
      const common = { input: file, table, journal, parallel, maxTokens: 16, seed: 0, signal };
      const counts = await runBatch(engine, { ...common, onProgress });
      return { ...counts, before: earlier.answered, lines: table.size };
    } finally {
      await journal.close();
    }
  } finally {
    await claimed.release();
  }
}
