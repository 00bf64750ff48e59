/** The first pass over the input: how many lines there are, their names, and what they may need. */

import { logitsThatDecide } from '../engine/sampler.ts';
import { InputError } from '../errors.ts';
import type { CompletionRequest } from '../openai/completions.ts';
import { Refusal } from '../openai/refusal.ts';
import { enterLine } from './line-ids.ts';
import { LineTable, TooManyLinesError } from './line-table.ts';
import { isBlank, type LineFile, linesOf } from './lines.ts';
import { longestLineBytes, memoryPerLineByte, readLine } from './read-line.ts';

export interface Survey {
  /** All lines that are to be answered. */
  readonly table: LineTable;
  /** Bytes of the longest line that is kept. */
  readonly longestLine: number;
  /** Positions that the longest request may need, as far as can be told without its tokens. */
  readonly positions: number;
  /** How many of the largest logits decide what is sampled, for every line; null: all of them do. */
  readonly bestLogits: number | null;
}

/** Special tokens beside a prompt, and what a normalizer may add to a short one. */
const addedPositions = 32;

export interface SurveyOptions {
  /** Tokens of requests that do not say how many. */
  readonly maxTokens: number;
  readonly signal: AbortSignal;
  /** Called with the bytes that are read. */
  readonly onProgress: (bytes: number) => void;
}

/**
 * Reads the input once.
 * @throws InputError when there are too many lines; InterruptedError
 */
export async function surveyInput(
  input: LineFile,
  { maxTokens, signal, onProgress }: SurveyOptions,
): Promise<Survey> {
  const table = new LineTable();
  let positions = 0;
  let longestLine = 0;
  let bestLogits: number | null = 1;
  try {
    for await (const line of linesOf(input, { longest: longestLineBytes, signal })) {
      if (isBlank(line)) continue;
      onProgress(line.offset);
      if (line.bytes !== null) longestLine = Math.max(longestLine, line.length);
      const { customId, call } = readLine(line);
      enterLine(table, line, customId);
      if (call instanceof Refusal) continue;
      const best = logitsThatDecide(call.request.sampling);
      bestLogits = best === null || bestLogits === null ? null : Math.max(best, bestLogits);
      positions = Math.max(positions, positionsOf(call.request, maxTokens));
    }
  } catch (error) {
    if (!(error instanceof TooManyLinesError)) throw error;
    throw new InputError(error.message, { file: input.path }, 'Split it into several files');
  }
  return { table, longestLine, positions, bestLogits };
}

/** A token has at least a byte. */
function positionsOf({ prompt, maxTokens }: CompletionRequest, usual: number): number {
  const promptTokens =
    typeof prompt === 'string' ? Buffer.byteLength(prompt) + addedPositions : prompt.length;
  return promptTokens + Math.max(1, maxTokens ?? usual) - 1;
}

/** Memory that a batch takes beside the model: its table, the lines that are worked on, and two more. */
export function batchBytes({ table, longestLine }: Survey, parallel: number): number {
  return table.bytes + (parallel + 2) * memoryPerLineByte * longestLine;
}
