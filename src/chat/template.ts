/**
 * Chat templates: Jinja, rendered as transformers' `apply_chat_template` renders it (trim_blocks,
 * lstrip_blocks, `{% generation %}`, the globals below), so that a model sees a conversation in the form
 * that it was trained on.
 */

import { Environment, type TemplateNode } from '@huggingface/jinja';
import { InputError } from '../errors.ts';
import { shown } from '../plain-text.ts';
import { withinTime } from '../tokenizer/time-limit.ts';
import { BoundedInterpreter } from './bounded-interpreter.ts';
import { type ChatMessage, type ChatTool, forTemplates } from './messages.ts';
import { strip } from './python-text.ts';
import { strftime } from './strftime.ts';
import { compileTemplate } from './template-program.ts';
import { longestList, TemplateSizeError } from './template-size.ts';
import { functionValue, textOf, toTemplateValue } from './template-values.ts';

/** Characters that count for the time limit; longer templates get no more time. */
const usualTemplate = 2 ** 15;

/** The most UTF-16 units of a template. The longest known one has 20,000. */
export const longestTemplate = 2 ** 18;

export interface RenderOptions {
  /** Functions that the model may call, as JSON schemas. */
  readonly tools?: readonly ChatTool[] | undefined;
  /** Documents to answer from: objects with `title` and `text`. */
  readonly documents?: readonly Readonly<Record<string, unknown>>[] | undefined;
  /** Whether the text ends with the beginning of the assistant's message; true by default. */
  readonly addGenerationPrompt?: boolean;
  /** Whether the model continues the last message: the text ends within it. Excludes a generation prompt. */
  readonly continueFinalMessage?: boolean;
  /** Further variables, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  /** The time for `strftime_now`; default: the current time. */
  readonly now?: Date;
}

/** The template has an error, or refuses a conversation. */
export class TemplateError extends InputError {}

/** An error that a template raises with `raise_exception`. */
class RaisedByTemplate extends Error {}

const continued = 'CONTINUE_FINAL_MESSAGE_TAG ';

/** Renders messages. Created once for a model. */
export class ChatTemplate {
  /** The file that it comes from, for error messages. */
  readonly file: string;
  /** The template's text. */
  readonly source: string;
  readonly #program: TemplateNode;
  readonly #tokens: ReadonlyMap<string, string>;

  /**
   * @param specialTokens texts by role (`bos_token`), which templates write
   * @throws TemplateError when it is not a valid template
   */
  constructor(
    source: string,
    file: string,
    specialTokens: ReadonlyMap<string, string> = new Map(),
  ) {
    this.source = source;
    this.file = file;
    this.#tokens = specialTokens;
    if (source.length > longestTemplate) {
      const size = `${source.length} characters; the limit is ${longestTemplate}`;
      throw new TemplateError(`the chat template has ${size}`, { file });
    }
    const compile = () => compileTemplate(source);
    this.#program = this.#limited(Math.min(source.length, usualTemplate), compile, 'is not valid');
  }

  /**
   * The text of a conversation.
   * @throws TemplateError when the template has an error, refuses the messages, or takes too long
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    const { continueFinalMessage = false } = options;
    const { addGenerationPrompt = !continueFinalMessage } = options;
    if (messages.length === 0) throw new InputError('the conversation has no messages');
    if (continueFinalMessage && addGenerationPrompt) {
      throw new InputError(
        'a generation prompt cannot be added to a text that continues the last message',
      );
    }
    const prepared = forTemplates(messages);
    const marked = continueFinalMessage ? withMark(prepared) : prepared;
    const variables = {
      ...Object.fromEntries(this.#tokens),
      ...options.variables,
      messages: marked,
      tools: options.tools ?? null,
      documents: options.documents ?? null,
      add_generation_prompt: addGenerationPrompt,
    };
    const units = JSON.stringify(marked).length;
    const work = () => this.#run(variables, options.now ?? new Date());
    const text = this.#limited(units, work, 'cannot be rendered');
    return continueFinalMessage ? this.#upToMark(text, prepared) : text;
  }

  #run(variables: Readonly<Record<string, unknown>>, now: Date): string {
    const globals = new Environment();
    for (const [name, value] of constants) globals.set(name, value);
    globals.set('range', range);
    globals.set('strftime_now', (format: unknown) => strftime(now, String(format)));
    globals.setVariable(
      'raise_exception',
      functionValue(([message]) => {
        throw new RaisedByTemplate(textOf(message) ?? 'it gives no reason');
      }),
    );
    const environment = new Environment(globals);
    for (const [name, value] of Object.entries(variables)) {
      environment.setVariable(name, toTemplateValue(value));
    }
    return String(new BoundedInterpreter(environment).run(this.#program).value);
  }

  /** Runs `work` for a limited time; errors name this template's file. */
  #limited<T>(units: number, work: () => T, what: string): T {
    const subject = {
      what: 'its chat template was',
      hint: 'Give another one with --template',
    };
    const { file } = this;
    return withinTime(
      () => {
        try {
          return work();
        } catch (error) {
          throw templateError(error, file, what);
        }
      },
      { units, file, subject },
    );
  }

  /** The rendered text up to the end of the last message's own text. */
  #upToMark(text: string, messages: readonly ChatMessage[]): string {
    const at = text.lastIndexOf(continued.trim());
    const last = strip(finalText(messages) ?? '');
    if (at < 0 || !text.includes(last)) {
      const message =
        'the template leaves out the text of the last message, which cannot be continued';
      throw new TemplateError(message, { file: this.file });
    }
    // If the template trims the message, the text before the mark is trimmed too.
    if (text.startsWith(continued, at)) return text.slice(0, at);
    return strip(text.slice(0, at), undefined, 'right');
  }
}

const constants: readonly (readonly [string, unknown])[] = [
  ['true', true],
  ['false', false],
  ['none', null],
  ['True', true],
  ['False', false],
  ['None', null],
];

/** Python's `range`, up to a length that a conversation may need. */
function range(first: unknown, second?: unknown, step: unknown = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (![start, stop, step].every(Number.isInteger) || step === 0) {
    throw new TypeError('range() needs whole numbers, and a step that is not 0');
  }
  const [from, to, by] = [start, stop, step] as [number, number, number];
  const count = Math.max(0, Math.ceil((to - from) / by));
  if (count > longestList) {
    throw new TemplateSizeError(
      `makes a range of ${count} numbers; at most ${longestList} are allowed`,
    );
  }
  return Array.from({ length: count }, (_, index) => from + index * by);
}

/** The most characters of a template's own error that a message quotes. */
const longestReason = 300;

function templateError(error: unknown, file: string, what: string): unknown {
  if (error instanceof InputError || !(error instanceof Error)) return error;
  if (error instanceof RaisedByTemplate) {
    const reason = shown(error.message, longestReason);
    return new TemplateError(`the chat template refuses this conversation: ${reason}`, { file });
  }
  if (error instanceof TemplateSizeError) {
    return new TemplateError(`the chat template ${error.message}`, { file });
  }
  const deep = error instanceof RangeError;
  const reason = deep
    ? 'it nests too deeply, or its result is too large'
    : shown(error.message, longestReason);
  const options = { cause: error };
  return new TemplateError(`the chat template ${what}: ${reason}`, { file }, undefined, options);
}

/** The text of the message to be continued: its content, or the last text among its parts. */
function finalText(messages: readonly ChatMessage[]): string | undefined {
  const content = messages.at(-1)?.content;
  if (typeof content === 'string') return content;
  return content?.findLast((part) => typeof part.text === 'string')?.text;
}

/** The messages, with a mark after the text of the last one. */
function withMark(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const last = messages.at(-1);
  const text = finalText(messages);
  if (last === undefined || text === undefined) {
    throw new InputError('the last message has no text to continue');
  }
  const { content } = last;
  if (typeof content === 'string') {
    return [...messages.slice(0, -1), { ...last, content: content + continued }];
  }
  const parts = [...(content ?? [])];
  const at = parts.findLastIndex((part) => typeof part.text === 'string');
  parts[at] = { ...parts[at], type: parts[at]?.type ?? 'text', text: text + continued };
  return [...messages.slice(0, -1), { ...last, content: parts }];
}
