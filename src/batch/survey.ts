/** The first pass over the input: counts the lines, and collects their names and what they may need. */

import { conversationBytes } from '../chat/chat.ts';
import { InputError } from '../errors.ts';
import { grammarBytes } from '../grammar/grammars.ts';
import { Refusal } from '../openai/refusal.ts';
import type { MeasureChat } from './call.ts';
import { enterLine } from './line-ids.ts';
import { LineTable, TooManyLinesError } from './line-table.ts';
import { isBlank, type LineFile, linesOf } from './lines.ts';
import { longestLineBytes, memoryPerLineByte, readLine } from './read-line.ts';

export interface Survey {
  /** The table of all lines to be answered. */
  readonly table: LineTable;
  /** Bytes of the longest kept line. */
  readonly longestLine: number;
  /** An upper bound for the positions of the longest request, known before it is encoded. */
  readonly positions: number;
  /** How many of the largest logits sampling needs, for every line; null: all. */
  readonly bestLogits: number | null;
  /** Whether any line needs a chat template. */
  readonly template: boolean;
  /** Whether any line needs a grammar. */
  readonly grammar: boolean;
  /** The most answers that a line asks for. */
  readonly answers: number;
}

export interface SurveyOptions {
  /** `max_tokens` of requests that do not set it. */
  readonly maxTokens: number;
  readonly measureChat: MeasureChat;
  readonly signal: AbortSignal;
  /** Called with the bytes read so far. */
  readonly onProgress: (bytes: number) => void;
}

/**
 * Reads the input once.
 * @throws InputError when there are too many lines; InterruptedError
 */
export async function surveyInput(
  input: LineFile,
  { maxTokens, measureChat, signal, onProgress }: SurveyOptions,
): Promise<Survey> {
  const table = new LineTable();
  let positions = 0;
  let longestLine = 0;
  let bestLogits: number | null = 1;
  let [template, grammar, answers] = [false, false, 1];
  try {
    for await (const line of linesOf(input, { longest: longestLineBytes, signal })) {
      if (isBlank(line)) continue;
      onProgress(line.offset);
      if (line.bytes !== null) longestLine = Math.max(longestLine, line.length);
      const { customId, call } = readLine(line);
      enterLine(table, line, customId);
      if (call instanceof Refusal) continue;
      const needs = await call.needs(measureChat);
      const { bestLogits: best } = needs;
      bestLogits = best === null || bestLogits === null ? null : Math.max(best, bestLogits);
      const most = Math.max(1, call.request.maxTokens ?? maxTokens);
      positions = Math.max(positions, needs.promptTokens + most - 1);
      template ||= needs.template;
      grammar ||= needs.grammar;
      answers = Math.max(answers, needs.answers);
    }
  } catch (error) {
    if (!(error instanceof TooManyLinesError)) throw error;
    throw new InputError(error.message, { file: input.path }, 'Split it into several files');
  }
  return { table, longestLine, positions, bestLogits, template, grammar, answers };
}

/** Memory of a finished answer that waits for the other answers of its line: its text and its message. */
const bytesPerAnswerPosition = 32;

/**
 * Memory that a batch takes in addition to the model: its table, the lines being processed and two more, and
 * chat templates, chat texts and the grammar engine if any line needs them.
 */
export function batchBytes(
  { table, longestLine, template, grammar, answers }: Survey,
  { parallel, context, vocabSize }: { parallel: number; context: number; vocabSize: number },
): number {
  return (
    table.bytes +
    (parallel + 2) * memoryPerLineByte * longestLine +
    (template ? conversationBytes(parallel * context) : 0) +
    (answers - 1) * parallel * context * bytesPerAnswerPosition +
    (grammar ? grammarBytes(vocabSize) : 0)
  );
}
