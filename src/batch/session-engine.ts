/** An engine of one session: calls wait for each other. */

import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import { generate } from '../engine/generate.ts';
import type { Model, RunRequest } from '../engine/model.ts';
import { encodePromptParts, PromptTooLongError } from '../engine/prompt.ts';
import type { Session } from '../engine/session.ts';
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

export class SessionEngine implements Engine {
  readonly model: string;
  readonly fingerprint: string;
  readonly #session: Session;
  #last: Promise<unknown> = Promise.resolve();

  constructor(session: Session, { model, fingerprint }: Answerer) {
    this.model = model;
    this.fingerprint = fingerprint;
    this.#session = session;
  }

  get context(): number {
    return this.#session.plan.context;
  }

  get maxContext(): number {
    return this.#session.model.manifest.spec.maxPositions;
  }

  async encode(
    prompt: string | readonly number[],
    signal: AbortSignal,
  ): Promise<readonly number[]> {
    const { tokenizer } = this.#session.model;
    const most = this.context;
    if (typeof prompt === 'string') {
      return encodePromptParts(tokenizer, [prompt], { most, file: 'the prompt', signal });
    }
    if (prompt.length > most) throw new PromptTooLongError(`${prompt.length}`, most, 'Shorten it');
    tokenizer.checkIds(prompt);
    return prompt;
  }

  complete(call: EngineCall): Promise<Completion> {
    const done = this.#last.then(() => this.#generate(call));
    this.#last = done.catch(() => {});
    return done;
  }

  async #generate({ onTokens, ...call }: EngineCall): Promise<Completion> {
    if (call.signal.aborted) throw new InterruptedError();
    let made = 0;
    const result = await generate(this.#session, { ...call, onText: () => onTokens(++made) });
    const { text, promptTokens, tokens, finishReason } = result;
    if (finishReason === 'interrupted') throw new InterruptedError();
    return {
      text,
      promptTokens: promptTokens.length,
      tokens: tokens.length,
      finishReason: finishReason === 'eos' || finishReason === 'stop' ? 'stop' : 'length',
    };
  }
}
