/** The second pass: sends the lines that are not answered yet to the engine, several at a time. */

import { Refusal } from '../openai/refusal.ts';
import { type AnswerOptions, answerCall } from './answer.ts';
import type { Answer, Call } from './call.ts';
import type { Engine } from './engine.ts';
import type { Journal } from './journal.ts';
import type { LineKey, LineTable } from './line-table.ts';
import type { LineFile } from './lines.ts';
import { type OpenLine, openLines } from './open-lines.ts';
import { answerLine, refusalLine } from './results.ts';

/** Counts of one run. */
export interface RunCounts {
  /** Results written, including errors. */
  readonly answered: number;
  readonly errors: number;
  /** Prompt tokens of answered lines. */
  readonly promptTokens: number;
  /** Generated tokens, including those of unfinished lines. */
  readonly tokens: number;
  /** The sum, over the lines under way, of the share of their tokens that is generated. */
  readonly underWay: number;
}

export interface RunOptions extends Omit<AnswerOptions, 'onTokens'> {
  readonly input: LineFile;
  readonly table: LineTable;
  readonly journal: Pick<Journal, 'append'>;
  /** Lines that are processed at once. */
  readonly parallel: number;
  /** Called often, with the counts so far. */
  readonly onProgress: (counts: RunCounts) => void;
}

/**
 * Answers every line that is not answered yet; a line counts once its result is in the journal. After an
 * error that is not a line's fault, no new line starts, those under way are aborted and awaited, and the
 * first error is thrown. After a signal, returns the counts so far.
 */
export async function runBatch(engine: Engine, options: RunOptions): Promise<RunCounts> {
  const { input, table, parallel } = options;
  const lines = openLines(input, table);
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const run = new Run(engine, { ...options, signal });
  const errors: unknown[] = [];
  const worker = async () => {
    try {
      // Several callers take turns at one generator: each line goes to one of them.
      for (;;) {
        const { value: line, done } = await lines.next();
        if (done || signal.aborted) return;
        await run.answer(line);
      }
    } catch (error) {
      // A line that was aborted by the signal or by another line's error adds no information.
      if (signal.aborted) return;
      errors.push(error);
      failed.abort();
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  if (errors.length > 0) throw errors[0];
  return run.counts;
}

class Run {
  readonly #engine: Engine;
  readonly #options: RunOptions;
  /** For each line under way, the generated tokens and the most that there can be. */
  readonly #underWay = new Map<number, { tokens: number; most: number }>();
  #answered = 0;
  #errors = 0;
  #promptTokens = 0;
  #tokens = 0;

  constructor(engine: Engine, options: RunOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  get counts(): RunCounts {
    let [underWay, begun] = [0, 0];
    for (const { tokens, most } of this.#underWay.values()) {
      underWay += tokens / Math.max(1, most);
      begun += tokens;
    }
    const [answered, errors, promptTokens] = [this.#answered, this.#errors, this.#promptTokens];
    return { answered, errors, promptTokens, tokens: this.#tokens + begun, underWay };
  }

  async answer({ number, key, slot, customId, call }: OpenLine): Promise<void> {
    const { table, journal } = this.#options;
    const outcome = call instanceof Refusal ? call : await this.#answer(call, key, number);
    if (outcome instanceof Refusal) {
      await journal.append(refusalLine(key, customId, outcome, number));
      this.#errors++;
    } else {
      await journal.append(answerLine(key, customId, outcome, this.#engine));
      this.#promptTokens += outcome.promptTokens;
      this.#tokens += outcome.tokens;
    }
    this.#underWay.delete(number);
    table.setAnswered(slot);
    this.#answered++;
    this.#options.onProgress(this.counts);
  }

  /** The engine's answer to a call, or why the engine refuses it. */
  async #answer(call: Call, key: LineKey, number: number): Promise<Answer | Refusal> {
    const onTokens = (tokens: number, most: number) => {
      this.#underWay.set(number, { tokens, most });
      this.#options.onProgress(this.counts);
    };
    try {
      return await answerCall(this.#engine, call, key, { ...this.#options, onTokens });
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
  }
}
