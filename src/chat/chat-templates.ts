/**
 * The templates of a model: chat_template.jinja and the named ones beside it, or if there is none
 * `chat_template` of tokenizer_config.json, which may hold several named templates. `tool_use` is for
 * conversations with tools, `default` for the others.
 */

import { join } from 'node:path';
import { isJsonObject } from '../checkpoint/json-file.ts';
import type { Model } from '../engine/model.ts';
import { InputError } from '../errors.ts';
import { templateNameOf } from '../flash/manifest.ts';
import { own } from '../own.ts';
import { some } from '../plain-text.ts';
import { readRegular } from '../regular-file.ts';
import { readOptionalObject } from '../tokenizer/token-files.ts';
import { textOfUtf8 } from '../utf8.ts';
import { ChatTemplate, longestTemplate } from './template.ts';

const plainTemplate = 'chat_template.jinja';

/** Templates of a model. */
const mostTemplates = 64;

/** Texts by name. */
type Sources = ReadonlyMap<string, string>;

export class ChatTemplates {
  readonly #sources: Sources;
  readonly #file: string;
  readonly #specialTokens: ReadonlyMap<string, string>;
  readonly #compiled = new Map<string, ChatTemplate>();

  constructor(sources: Sources, file: string, specialTokens: ReadonlyMap<string, string>) {
    this.#sources = sources;
    this.#file = file;
    this.#specialTokens = specialTokens;
  }

  /**
   * The template for a conversation with or without tools.
   * @throws InputError when there is none, or it is not a valid template
   */
  choose(withTools: boolean): ChatTemplate {
    const name = withTools && this.#sources.has('tool_use') ? 'tool_use' : 'default';
    const known = this.#compiled.get(name);
    if (known !== undefined) return known;
    const source = this.#sources.get(name);
    if (source === undefined) {
      const names = some([...this.#sources.keys()]);
      throw new InputError(
        `has chat templates called ${names}, and no default`,
        { file: this.#file },
        'Name one with --template, or give a file',
      );
    }
    const template = new ChatTemplate(source, this.#file, this.#specialTokens);
    this.#compiled.set(name, template);
    return template;
  }

  /** The template with this name, for all conversations; null if there is none. */
  named(name: string): ChatTemplates | null {
    const source = this.#sources.get(name);
    if (source === undefined) return null;
    return new ChatTemplates(new Map([['default', source]]), this.#file, this.#specialTokens);
  }
}

const kept = new WeakMap<Model, Promise<ChatTemplates | null>>();

/**
 * The model's own templates, read once.
 * @throws InputError when it has none
 */
export async function templatesOf(model: Model): Promise<ChatTemplates> {
  const templates = await templatesIfAny(model);
  if (templates !== null) return templates;
  throw new InputError(
    'the model has no chat template',
    { file: model.files.dir },
    'The model may not be made for conversations; give a template with --template <file>',
  );
}

/** The model's own templates; null if there are none. @throws InputError when they cannot be read */
export function templatesIfAny(model: Model): Promise<ChatTemplates | null> {
  const known = kept.get(model);
  if (known !== undefined) return known;
  const found = readTemplates(model);
  kept.set(model, found);
  return found;
}

async function readTemplates({ files, tokenizer }: Model): Promise<ChatTemplates | null> {
  const { dir } = files;
  const names = Object.keys(files.manifest.files).flatMap((stored) => {
    const name = stored === plainTemplate ? 'default' : templateNameOf(stored);
    return name === null ? [] : [{ name, file: join(dir, stored) }];
  });
  // A template called `default` replaces the unnamed one.
  names.sort(
    (a, b) => Number(b.file.endsWith(plainTemplate)) - Number(a.file.endsWith(plainTemplate)),
  );
  const [first] = names;
  if (first !== undefined) {
    const sources = new Map<string, string>();
    for (const { name, file } of names.slice(0, mostTemplates)) {
      sources.set(name, await templateIn(file));
    }
    return new ChatTemplates(sources, names.length === 1 ? first.file : dir, tokenizer.roles);
  }
  const configFile = join(dir, 'tokenizer_config.json');
  const config = (await readOptionalObject(configFile)) ?? {};
  const sources = sourcesIn(own(config, 'chat_template'), configFile);
  return sources.size === 0 ? null : new ChatTemplates(sources, configFile, tokenizer.roles);
}

/** The value of `chat_template` in tokenizer_config.json: a text, or a list of named texts. */
function sourcesIn(value: unknown, file: string): Sources {
  if (value === undefined || value === null) return new Map();
  if (typeof value === 'string') return new Map([['default', value]]);
  const entries = Array.isArray(value) ? value.slice(0, mostTemplates) : [];
  const sources = new Map<string, string>();
  for (const entry of entries) {
    if (!isJsonObject(entry)) continue;
    const { name, template } = entry;
    if (typeof name === 'string' && typeof template === 'string') sources.set(name, template);
  }
  if (sources.size > 0) return sources;
  throw new InputError("'chat_template' is neither a string nor a list of named strings", {
    file,
  });
}

/**
 * The template in a separate file.
 * @param specialTokens the tokenizer's special tokens, by role
 * @throws InputError when the file is too long, not UTF-8 text, or not a template
 */
export async function templatesInFile(
  file: string,
  specialTokens: ReadonlyMap<string, string>,
): Promise<ChatTemplates> {
  return new ChatTemplates(new Map([['default', await templateIn(file)]]), file, specialTokens);
}

async function templateIn(file: string): Promise<string> {
  const bytes = await readRegular(file, 4 * longestTemplate).catch((error: unknown) => {
    if (error instanceof InputError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(`cannot read the chat template: ${reason}`, { file });
  });
  const text = textOfUtf8(bytes);
  if (text === null) {
    throw new InputError('the chat template is not text in UTF-8', { file });
  }
  return text;
}
