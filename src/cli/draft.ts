/** `--draft`: who proposes tokens, opened beside the model within the same budget. */

import { InvalidArgumentError, Option } from 'commander';
import type { Model } from '../engine/model.ts';
import { mostSequences } from '../engine/run-plan.ts';
import type { RunRequest } from '../engine/run-request.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import { LookupDrafter, lookupBytes } from '../engine/speculation/lookup.ts';
import { checkSameTokens, draftRequest, ModelDrafter } from '../engine/speculation/model-draft.ts';
import { interruption } from './interrupt.ts';
import { countArgument } from './options.ts';
import { withModel, withRuntime } from './run.ts';
import { showProgress } from './terminal.ts';

export interface DraftFlags {
  readonly draft?: string;
  readonly draftTokens?: number;
}

/** Tokens that are proposed for a pass at most, where nobody says how many. */
const usualTokens = { lookup: 12, model: 8 };

export function draftOption(): Option {
  return new Option(
    '--draft <lookup or model>',
    'propose several tokens for each pass, the text stays the same; lookup: what followed the last ' +
      'tokens before; or the directory of a small model with the same tokenizer',
  );
}

export function draftTokensOption(): Option {
  return new Option(
    '--draft-tokens <n>',
    `with --draft: propose at most so many tokens for a pass; default: ${usualTokens.lookup}, of a model ${usualTokens.model}`,
  ).argParser((text) => {
    const n = countArgument(text);
    if (n >= 1 && n < mostSequences) return n;
    throw new InvalidArgumentError(`It is not a number from 1 to ${mostSequences - 1}.`);
  });
}

/** A request with what the draft needs, and how it is opened beside the runtime. */
export interface PlannedDraft {
  readonly request: RunRequest;
  /** Calls `work` with the draft, and closes what was opened for it. */
  use<T>(runtime: Runtime, work: (drafter: Drafter | undefined) => Promise<T>): Promise<T>;
}

/** Calls `work` with a request that leaves room for the draft that the flags name. */
export async function withPlannedDraft<T>(
  model: Model,
  { draft: name, draftTokens }: DraftFlags,
  request: RunRequest,
  work: (planned: PlannedDraft) => Promise<T>,
): Promise<T> {
  if (name === undefined) return work({ request, use: (_, use) => use(undefined) });
  if (name === 'lookup') {
    const { context, sequences = 1 } = request;
    const added = {
      draftTokens: draftTokens ?? usualTokens.lookup,
      draftBytes: lookupBytes * context * sequences,
    };
    return work({
      request: { ...request, ...added },
      use: (runtime, use) => use(new LookupDrafter(optionsOf(runtime))),
    });
  }
  return withModel(name, async (draft) => {
    checkSameTokens(model, draft);
    const own = draftRequest(draft, request);
    const added = { draftTokens: draftTokens ?? usualTokens.model, draftBytes: own.budget };
    return work({
      request: { ...request, ...added },
      use: async (runtime, use) => {
        const progress = showProgress('loading the draft', true);
        const opened = await runtime
          .openBeside(draft, own, (done, all) => progress.update(done, all), interruption)
          .finally(() => progress.stop());
        try {
          const { passTimes, most } = optionsOf(runtime);
          return await use(new ModelDrafter({ passTimes, most, draft: opened }));
        } finally {
          await opened.close();
        }
      },
    });
  });
}

/** Loads a model with what its flags say of a draft, and closes both whatever happens. */
export function withDraft<T>(
  model: Model,
  flags: DraftFlags,
  request: RunRequest,
  quiet: boolean,
  work: (runtime: Runtime, drafter: Drafter | undefined) => Promise<T>,
): Promise<T> {
  return withPlannedDraft(model, flags, request, ({ request: whole, use }) =>
    withRuntime(model, whole, quiet, (runtime) =>
      use(runtime, (drafter) => work(runtime, drafter)),
    ),
  );
}

/** As many tokens as the plan has room for. */
function optionsOf({ plan, passTimes }: Runtime) {
  return { passTimes, most: Math.max(0, plan.logitPositions - plan.kvCache.sequences) };
}
