/** The first pass over the input: how many lines there are, their names, and what they may need. */

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
  /** All lines that are to be answered. */
  readonly table: LineTable;
  /** Bytes of the longest line that is kept. */
  readonly longestLine: number;
  /** Positions that the longest request may need, as far as can be told without its tokens. */
  readonly positions: number;
  /** How many of the largest logits decide what is sampled, for every line; null: all of them do. */
  readonly bestLogits: number | null;
  /** Whether a line wants a chat template. */
  readonly template: boolean;
  /** Whether a line's answer is held to a grammar. */
  readonly grammar: boolean;
  /** Answers of the line that wants most. */
  readonly answers: number;
}

export interface SurveyOptions {
  /** Tokens of requests that do not say how many. */
  readonly maxTokens: number;
  readonly measureChat: MeasureChat;
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

/** Of each answer of a line that has been made, and waits for the others: its text, and its message. */
const bytesPerAnswerPosition = 32;

/**
 * Memory that a batch takes beside the model: its table, the lines that are worked on and two more, and
 * for chats templates, their texts and the grammar engine, if there are lines that want them.
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
