/**
 * Tool calls as models write them, in one of the forms that their templates show:
 *
 *     hermes    <tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>, one after the other
 *     mistral   [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...], or [TOOL_CALLS]name[ARGS]{...}
 *     llama     {"name": ..., "parameters": {...}}, without any other text
 */

import { isJsonObject } from '../checkpoint/json-file.ts';
import type { GrammarFormat, JsonSchema, TagFormat } from '../grammar/format.ts';
import { jsonFormat } from '../grammar/schema-rules.ts';
import type { ChatTool } from './messages.ts';

export type ToolFormat = 'hermes' | 'mistral' | 'mistral-args' | 'llama';

/** A call that a model has written. */
export interface WrittenCall {
  readonly name: string;
  /** JSON. */
  readonly arguments: string;
}

/** The marks that begin calls. */
const openings: Readonly<Record<ToolFormat, string>> = {
  hermes: '<tool_call>',
  mistral: '[TOOL_CALLS]',
  'mistral-args': '[TOOL_CALLS]',
  llama: '{',
};
const hermesEnd = '</tool_call>';
const argumentsMark = '[ARGS]';
const pythonTag = '<|python_tag|>';

/** The form that a template shows; null if it shows none, or an unknown one. */
export function toolFormatOf(template: string): ToolFormat | null {
  if (!/\btools\b/.test(template)) return null;
  if (template.includes('<tool_call>')) return template.includes('<function=') ? null : 'hermes';
  if (template.includes('[TOOL_CALLS]')) {
    return template.includes(argumentsMark) ? 'mistral-args' : 'mistral';
  }
  if (template.includes('"parameters": ') && /python_tag|ipython/.test(template)) return 'llama';
  return null;
}

/** Whether the marks of a form are special tokens, which otherwise do not appear in the text. */
export function hasSpecialMarks(format: ToolFormat): boolean {
  return format !== 'hermes';
}

/** The form of an answer that consists of tool calls only. */
export interface CallGrammar {
  /** Its beginning: marks that may be special tokens, which a grammar cannot contain. */
  readonly opening: string;
  /** The format of the rest. */
  readonly format: GrammarFormat;
}

/**
 * The grammar of calls; null if the model's form of calls cannot be forced.
 * @param several whether more than one call may be made
 */
export function toolCallGrammar(
  format: ToolFormat,
  tools: readonly ChatTool[],
  several: boolean,
): CallGrammar | null {
  const [first] = tools;
  if (format === 'mistral-args') {
    if (first === undefined || tools.length > 1) return null;
    const opening = `${openings[format]}${first.function.name}${argumentsMark}`;
    return { opening, format: jsonFormat(parametersOf(first)) };
  }
  const key = format === 'llama' ? 'parameters' : 'arguments';
  const [before, behind] =
    format === 'hermes' ? [`${openings.hermes}\n`, `\n${hermesEnd}`] : ['', ''];
  const tags = tools.map(
    (tool): TagFormat => ({
      type: 'tag',
      begin: `${before}{"name": "${tool.function.name}", "${key}": `,
      content: jsonFormat(parametersOf(tool)),
      end: `}${behind}`,
    }),
  );
  const separator = format === 'hermes' ? '\n' : ', ';
  const stop = !several || format === 'llama';
  const common = { separator, at_least_one: true, stop_after_first: stop } as const;
  const calls: GrammarFormat = { type: 'tags_with_separator', tags, ...common };
  if (format !== 'mistral') return { opening: '', format: calls };
  const list: readonly GrammarFormat[] = [
    { type: 'const_string', value: '[' },
    calls,
    { type: 'const_string', value: ']' },
  ];
  return { opening: openings.mistral, format: { type: 'sequence', elements: list } };
}

function parametersOf({ function: { parameters } }: ChatTool): JsonSchema {
  return parameters ?? { type: 'object', properties: {}, additionalProperties: false };
}

/** Separates text from calls while an answer is generated. */
export class ToolCallReader {
  readonly #format: ToolFormat;
  readonly #names: ReadonlySet<string>;
  /** Text that may be a call, or the beginning of one. */
  #held = '';
  #calling = false;
  /** Whether there has been text other than blanks. */
  #spoken = false;

  /** @param names of the tools: text without marks can only be a call of one of these */
  constructor(format: ToolFormat, names: readonly string[]) {
    this.#format = format;
    this.#names = new Set(names);
  }

  /** Takes more of the answer. @returns the part that is certainly text */
  push(text: string): string {
    this.#held += text;
    if (this.#calling) return '';
    const at = this.#openingAt();
    if (at !== null) {
      this.#calling = true;
      const before = this.#held.slice(0, at);
      this.#held = this.#held.slice(at);
      return this.#say(before.trimEnd() === '' ? '' : before);
    }
    const kept = this.#mayBegin();
    const certain = this.#held.slice(0, this.#held.length - kept);
    this.#held = this.#held.slice(this.#held.length - kept);
    return this.#say(certain);
  }

  /** The calls, and the held-back text that turned out not to be a call. */
  finish(): { readonly text: string; readonly calls: readonly WrittenCall[] } {
    const calls = this.#calling ? this.#calls() : null;
    return calls === null ? { text: this.#held, calls: [] } : { text: '', calls };
  }

  #calls(): readonly WrittenCall[] | null {
    const isMarked = this.#held.startsWith(openings[this.#format]) && this.#format !== 'llama';
    if (isMarked) return readCalls(this.#format, this.#held);
    const calls = readCalls('llama', this.#held);
    return calls?.every(({ name }) => this.#names.has(name)) ? calls : null;
  }

  #say(text: string): string {
    if (text.trim() !== '') this.#spoken = true;
    return text;
  }

  #openingAt(): number | null {
    // Small models may write a call without its marks, whatever their template shows.
    if (!this.#spoken && /^\s*(<\|python_tag\|>)?\s*\{/.test(this.#held)) return 0;
    if (this.#format === 'llama') return null;
    const at = this.#held.indexOf(openings[this.#format]);
    return at < 0 ? null : at;
  }

  /** How many characters at the end may be the beginning of an opening mark. */
  #mayBegin(): number {
    const held = this.#held;
    if (this.#format === 'llama') {
      if (this.#spoken) return 0;
      const start = held.trimStart();
      return start === '' || pythonTag.startsWith(start) ? held.length : 0;
    }
    const opening = openings[this.#format];
    for (let length = Math.min(opening.length - 1, held.length); length > 0; length--) {
      if (opening.startsWith(held.slice(-length))) return length;
    }
    // Blanks before a call belong to neither the text nor the call.
    return held.length - held.trimEnd().length;
  }
}

/** The calls in a text; null if it contains none. */
function readCalls(format: ToolFormat, written: string): readonly WrittenCall[] | null {
  const calls = partsOf(format, written).map((part) => readCall(part));
  return calls.every((call) => call !== null) && calls.length > 0 ? calls : null;
}

/** The JSON of each call; null if a text is not JSON. */
function partsOf(format: ToolFormat, written: string): readonly unknown[] {
  if (format === 'hermes') {
    const parts = written.split(openings.hermes).slice(1);
    return parts.map((part) => parsed(part.split(hermesEnd)[0] ?? ''));
  }
  if (format === 'llama') return [parsed(written.replace(pythonTag, ''))];
  return written
    .split(openings.mistral)
    .slice(1)
    .flatMap((part) => {
      const [name = '', json] = part.split(argumentsMark);
      if (json !== undefined) return [{ name: name.trim(), arguments: parsed(json) }];
      const calls = parsed(part);
      return Array.isArray(calls) ? calls : [calls];
    });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function readCall(value: unknown): WrittenCall | null {
  if (!isJsonObject(value)) return null;
  const { name, arguments: given = value.parameters } = value;
  if (typeof name !== 'string' || name === '') return null;
  if (given !== undefined && !isJsonObject(given) && typeof given !== 'string') return null;
  return { name, arguments: typeof given === 'string' ? given : JSON.stringify(given ?? {}) };
}
