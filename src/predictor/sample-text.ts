/** The text to learn from: it is checked while it is read, and only as much of it is read as is needed. */

import type { DocumentPart, Documents } from '../engine/documents.ts';
import type { Model } from '../engine/model.ts';
import { BudgetError, InputError } from '../errors.ts';
import { processEstimate } from '../plan/process.ts';
import { formatBytes, MIB } from '../units.ts';
import { heapBytes } from './rank-limits.ts';
import type { PredictTrainRequest } from './settings.ts';
import { windowsFrom } from './windows.ts';

/** Bytes of a token, and of a window, as JavaScript numbers. */
const [tokenBytes, windowBytes] = [8, 64];
/** This much needs no check here: planning checks the budget item by item. */
const alwaysBytes = 16 * MIB;

/** A document counts as text if at most this share of it replaces bytes that are not UTF-8. */
const mostStrange = { ofDocument: 0.01, ofPart: 0.1 };

/** The text as windows. @throws InputError when it is too short or not text */
export async function sampleWindows(
  { tokenizer, manifest }: Model,
  { documents, corpus: file, budget, signal, onReading }: PredictTrainRequest,
  context: number,
  most: number,
): Promise<number[][]> {
  if (most < context) {
    throw new InputError(
      `--max-tokens ${most} is less than one window of ${context} tokens, the least that training takes`,
      {},
      `Give --max-tokens ${context} or more`,
    );
  }
  const { bosId } = tokenizer;
  if (bosId === undefined)
    throw new InputError('the model has no BOS token to start a window with');
  const room = Math.max(alwaysBytes, budget - processEstimate(manifest) - heapBytes);
  let tokens = 0;
  let windowCount = 0;
  const windows = await windowsFrom(textOnly(documents, file), tokenizer, {
    bosId,
    context,
    mostTokens: most,
    file,
    signal,
    onTokens: (count) => {
      tokens = count;
      windowCount++;
      onReading?.(tokens, most);
      if (tokens * tokenBytes + windowCount * windowBytes <= room) return;
      throw new BudgetError(
        `${tokens} tokens of text do not fit --dram-budget ${formatBytes(budget)}`,
        { file },
        `Give a larger one, or --max-tokens ${Math.floor(tokens / 2)}`,
      );
    },
  });
  if (tokens < context) {
    const found = tokens === 0 ? 'holds no tokens' : `holds ${tokens} tokens`;
    throw new InputError(
      `${found}; training takes at least one window of ${context} tokens`,
      { file },
      `Give a text of the kind the model is used for, ${Math.min(most, manifest.spec.maxPositions * 20)} tokens or more`,
    );
  }
  return windows;
}

/** The same documents. @throws InputError at one that is not text in UTF-8 */
async function* textOnly(documents: Documents, file: string): AsyncGenerator<DocumentPart> {
  let [strange, units] = [0, 0];
  for await (const document of documents) {
    const part = typeof document === 'string' ? { text: document, ends: true } : document;
    // Decoding has replaced bytes that are not UTF-8.
    const found = part.text.match(/[\0\ufffd]/g)?.length ?? 0;
    strange += found;
    units += part.text.length;
    const wrong =
      found > mostStrange.ofPart * part.text.length && found > 100
        ? true
        : part.ends && strange > mostStrange.ofDocument * units;
    if (wrong) throw new InputError('is not text', { file }, 'Give a text file in UTF-8');
    if (part.ends) [strange, units] = [0, 0];
    yield part;
  }
}
