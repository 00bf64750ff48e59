/** A loaded model as the engine of a batch: each call has a sequence of its own. */

import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import { generate } from '../engine/generate.ts';
import type { Model } from '../engine/model.ts';
import { encodePromptParts, PromptTooLongError } from '../engine/prompt.ts';
import type { RunRequest } from '../engine/run-request.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { Sequence } from '../engine/sequence.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import { InterruptedError } from '../errors.ts';
import { predictorTensors } from '../flash/predictor-file.ts';
import type { Answerer, Completion } from './completions.ts';
import type { Engine, EngineCall } from './engine.ts';

/** Who answers: the directory's name, and a hash of all that decides what a model generates. */
export function answererOf(
  { files, manifest }: Pick<Model, 'files' | 'manifest'>,
  { ffn, kvDtype }: Pick<RunRequest, 'ffn' | 'kvDtype'>,
): Answerer {
  const predictors = ffn === 'exact' ? [] : predictorTensors(files.predictors);
  const sums = predictors.map(({ checksums }) => checksums.join(' '));
  const all = [manifest.crc32, kvDtype, ...sums].join(', ');
  const digits = createHash('sha256').update(all).digest('hex').slice(0, 12);
  return { model: basename(resolve(files.dir)), fingerprint: `fp_${digits}` };
}

export class RuntimeEngine implements Engine {
  readonly model: string;
  readonly fingerprint: string;
  readonly #runtime: Runtime;
  /** Open sequences that nobody uses: what the next prompt has in common with one is kept. */
  readonly #idle: Sequence[] = [];

  readonly #draft: Drafter | undefined;

  /** @param draft proposes tokens for all calls */
  constructor(runtime: Runtime, { model, fingerprint }: Answerer, draft?: Drafter) {
    this.model = model;
    this.fingerprint = fingerprint;
    this.#runtime = runtime;
    this.#draft = draft;
  }

  get context(): number {
    return this.#runtime.plan.context;
  }

  get maxContext(): number {
    return this.#runtime.model.manifest.spec.maxPositions;
  }

  async encode(
    prompt: string | readonly number[],
    signal: AbortSignal,
  ): Promise<readonly number[]> {
    const { tokenizer } = this.#runtime.model;
    const most = this.context;
    if (typeof prompt === 'string') {
      return encodePromptParts(tokenizer, [prompt], { most, file: 'the prompt', signal });
    }
    if (prompt.length > most) throw new PromptTooLongError(`${prompt.length}`, most, 'Shorten it');
    tokenizer.checkIds(prompt);
    return prompt;
  }

  async complete({ onTokens, ...call }: EngineCall): Promise<Completion> {
    if (call.signal.aborted) throw new InterruptedError();
    const sequence = this.#idle.pop() ?? this.#runtime.sequence();
    try {
      let made = 0;
      const result = await generate(sequence, {
        ...call,
        draft: this.#draft,
        onText: () => onTokens(++made),
      });
      const { text, promptTokens, tokens, finishReason } = result;
      if (finishReason === 'interrupted') throw new InterruptedError();
      return {
        text,
        promptTokens: promptTokens.length,
        tokens: tokens.length,
        finishReason: finishReason === 'eos' || finishReason === 'stop' ? 'stop' : 'length',
      };
    } finally {
      this.#idle.push(sequence);
    }
  }
}
