import { Command } from 'commander';
import { type ChatResult, chat, conversationBytes } from '../chat/chat.ts';
import type { ChatTemplates } from '../chat/chat-templates.ts';
import { Conversation } from '../chat/conversation.ts';
import type { RunRequest } from '../engine/run-request.ts';
import { bestLogits } from '../engine/sampler.ts';
import type { SamplingOptions } from '../engine/sampling-options.ts';
import type { Sequence } from '../engine/sequence.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import { InputError, InterruptedError } from '../errors.ts';
import { runChatCommand } from './chat-commands.ts';
import { type ChatInput, chatInput, type Said } from './chat-input.ts';
import { contextsOf, usualContext } from './context.ts';
import { type DraftFlags, withDraftedRuntime, withDraftOptions } from './draft.ts';
import { noteChoice, noteFewerExperts } from './ffn-choice.ts';
import { answeringInterrupts, interruption } from './interrupt.ts';
import {
  budgetOption,
  countArgument,
  exactOption,
  expertsOf,
  expertsOption,
  kvDTypeOption,
  type RunFlags,
  threadsOf,
  threadsOption,
  windowOption,
} from './options.ts';
import { chooseBudget, chosenTemplates, statsTable, withModel } from './run.ts';
import { type SamplingFlags, samplingOf, withSamplingOptions } from './sampling.ts';
import { note, noteError, noteLines, print, printDim } from './terminal.ts';

interface ChatFlags extends SamplingFlags, DraftFlags, RunFlags {
  readonly system?: string;
  readonly template?: string;
  readonly context?: number;
  readonly maxTokens?: number;
  readonly stats?: boolean;
}

export function chatCommand(): Command {
  const command = new Command('chat')
    .description('talk with a model; without a terminal, each line of stdin is a turn')
    .argument('<model>', 'model directory')
    .option('--system <text>', 'the system message')
    .option(
      '--template <name or file>',
      "another chat template: one of the model's by its name, or a file",
    )
    .option(
      '--context <n>',
      `positions of the conversation; default: the model's, at most ${usualContext}, fewer if a small budget needs it`,
      countArgument,
    )
    .option(
      '--max-tokens <n>',
      'the most tokens of an answer; default: as many as the context has room for',
      countArgument,
    )
    .addOption(budgetOption('memory for the whole process; default: 90% of what is available'));
  return withDraftOptions(withSamplingOptions(command))
    .addOption(windowOption())
    .addOption(threadsOption())
    .addOption(kvDTypeOption())
    .addOption(exactOption())
    .addOption(expertsOption())
    .option('--stats', 'print the time and the bytes read of each answer')
    .action(run);
}

async function run(dir: string, flags: ChatFlags): Promise<void> {
  const sampling = samplingOf(flags);
  await withModel(
    dir,
    async (model) => {
      const templates = await chosenTemplates(model, flags.template);
      // An unusable template is reported before anything is loaded.
      templates.choose(false);
      const { maxPositions } = model.manifest.spec;
      const [most, ...fewer] = contextsOf(flags.context, maxPositions);
      const budget = chooseBudget(model, flags.dramBudget);
      const requestFor = (context: number): RunRequest => ({
        budget,
        ownBytes: conversationBytes(context),
        context,
        kvDtype: flags.kvDtype,
        window: flags.window,
        ffn: flags.exact ? 'exact' : 'auto',
        ...bestLogits(sampling),
        ...threadsOf(flags),
        ...expertsOf(flags),
      });
      const requests = [requestFor(most), ...fewer.map(requestFor)] as const;
      await withDraftedRuntime(model, flags, requests, false, async (runtime, draft) => {
        const input = chatInput(runtime.plan.context);
        const sequence = runtime.sequence();
        noteChoice(runtime.plan);
        noteFewerExperts(model.manifest.spec, flags.experts);
        if (input.interactive) note('/help lists commands, Ctrl-C ends an answer, Ctrl-D the chat');
        await new ChatSession(sequence, { flags, sampling, templates, input, draft }).run();
      });
    },
    { predictors: flags.exact !== true },
  );
}

interface SessionParts {
  readonly flags: ChatFlags;
  readonly sampling: SamplingOptions;
  readonly templates: ChatTemplates;
  readonly input: ChatInput;
  readonly draft: Drafter | undefined;
}

/** One conversation, from its first turn to its end. */
class ChatSession {
  readonly conversation: Conversation;
  figures: string | null = null;
  readonly #sequence: Sequence;
  readonly #parts: SessionParts;

  constructor(sequence: Sequence, parts: SessionParts) {
    this.#sequence = sequence;
    this.#parts = parts;
    this.conversation = new Conversation(parts.flags.system ?? null);
  }

  /** @throws InterruptedError when Ctrl-C ended it */
  async run(): Promise<void> {
    const { input } = this.#parts;
    /** Whether the last input was Ctrl-C. */
    let stopped = false;
    for (;;) {
      const said = await input.next();
      if (said === 'end') return;
      if (said === 'interrupted') {
        if (stopped || interruption.aborted) throw new InterruptedError();
        note('press Ctrl-C again to end the chat, or use /exit or Ctrl-D');
        stopped = true;
        continue;
      }
      const went = await this.#hear(said);
      if (went === 'ended') return;
      stopped = went === 'interrupted';
    }
  }

  /** Runs a command or answers a turn. An input error is reported at a terminal; elsewhere it ends the chat. */
  async #hear({ text, quoted }: Said): Promise<'done' | 'ended' | 'interrupted'> {
    const isCommand = !quoted && text.startsWith('/');
    try {
      if (isCommand) return (await runChatCommand(text, this)) ? 'done' : 'ended';
      return await this.#answer(text);
    } catch (error) {
      if (!(this.#parts.input.interactive && error instanceof InputError)) throw error;
      noteError(error.line);
      // A turn that could not be answered does not stay in the conversation.
      if (!isCommand) this.conversation.undo();
      return 'done';
    }
  }

  async #answer(content: string): Promise<'done' | 'interrupted'> {
    const { conversation } = this;
    const { input, flags } = this.#parts;
    conversation.add({ role: 'user', content });
    const answer = input.interactive
      ? await answeringInterrupts((signal) => this.#generate(signal))
      : await this.#generate(interruption);
    conversation.leave(answer.droppedMessages);
    // A turn that was stopped before the first word is removed, so that it can be entered again.
    if (answer.finishReason === 'interrupted' && answer.text === '') conversation.undo();
    else conversation.add(answer.message);
    if (!answer.text.endsWith('\n')) print('\n');
    this.#tell(answer);
    this.figures = this.#figuresOf(answer);
    if (flags.stats) noteLines(this.figures);
    if (answer.finishReason !== 'interrupted') return 'done';
    if (interruption.aborted || !input.interactive) throw new InterruptedError();
    input.drop();
    return 'interrupted';
  }

  #generate(signal: AbortSignal): Promise<ChatResult> {
    const { flags, sampling, templates, draft } = this.#parts;
    return chat(this.#sequence, this.conversation.messages, {
      prompt: { templates },
      dropOldest: true,
      maxTokens: flags.maxTokens ?? this.#sequence.runtime.plan.context,
      sampling,
      stop: flags.stop ?? [],
      ignoreEos: flags.ignoreEos ?? false,
      draft,
      signal,
      onPart: ({ text, thought }) => (thought ? printDim(text) : print(text)),
    });
  }

  /** Notes about an answer: messages that were left out, and why it ended early. */
  #tell({ droppedMessages, finishReason }: ChatResult): void {
    const { context } = this.#sequence.runtime.plan;
    if (droppedMessages > 0) {
      note(
        `the conversation exceeds the context of ${context} positions: ` +
          `the oldest ${droppedMessages} messages are left out; a larger --context gives more room`,
      );
    }
    if (finishReason === 'context')
      note(`the answer ends here: the context of ${context} positions is full`);
    if (finishReason === 'interrupted') note('interrupted');
  }

  #figuresOf({ stats, promptTokens, reusedTokens }: ChatResult): string {
    const { length, runtime } = this.#sequence;
    const computed = promptTokens.length - reusedTokens;
    return (
      `${statsTable(stats)}` +
      `context: ${length} of ${runtime.plan.context} positions; ` +
      `prompt: ${computed} tokens computed, ${reusedTokens} reused from before\n`
    );
  }
}
