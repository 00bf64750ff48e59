/**
 * Tokens that are defined outside tokenizer.json, read as in transformers 5: `added_tokens_decoder` of
 * tokenizer_config.json, or else special_tokens_map.json and added_tokens.json; and the tokens with a
 * role, such as `eos_token`.
 */

import { brief, isJsonObject } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { type AddedToken, isTokenId, tokenContent } from './tokenizer-json.ts';

type Json = Readonly<Record<string, unknown>>;
type Flagged = Omit<AddedToken, 'id'>;
/** A token, and the id that a file gives it. If an id occurs twice, the last counts. */
type Said = readonly [id: number, token: Flagged];

/** The files beside tokenizer.json, parsed; undefined if missing. */
export interface TokenFiles {
  /** tokenizer_config.json */
  readonly config?: Json | undefined;
  /** special_tokens_map.json */
  readonly tokensMap?: Json | undefined;
  /** added_tokens.json */
  readonly addedTokens?: Json | undefined;
}

export interface SpecialTokens {
  /** The tokens that are added to those of tokenizer.json, in this order. */
  readonly added: readonly Flagged[];
  /** Contents by role: `eos_token`. */
  readonly roles: ReadonlyMap<string, string>;
}

const roles = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
];

/** Real models have at most a tenth of that, including those with tokens for sound and images. */
const mostAdded = 2 ** 18;

/**
 * @param own the added tokens of tokenizer.json
 * @param defaults tokens with a role that a tokenizer class defines if no file names one
 * @param file the file that messages about added tokens name
 * @throws InputError when a file gives a token in a form that has no meaning
 */
export function specialTokensOf(
  files: TokenFiles,
  own: readonly AddedToken[],
  file: string,
  defaults: Readonly<Record<string, string>> = {},
): SpecialTokens {
  const config = files.config ?? {};
  const decoder = config.added_tokens_decoder ?? null;
  const settings: Json = {
    ...defaults,
    ...config,
    // If the newer list exists, the older files are ignored.
    ...(decoder === null ? files.tokensMap : {}),
  };
  const named = namedTokens(settings);
  const extra = extraTokens(config, settings);
  const list = decoder ?? files.addedTokens;
  const listed = isJsonObject(list) ? Object.keys(list).length : 0;
  const count = own.length + listed + named.size + extra.length;
  if (count > mostAdded) {
    throw new InputError(`${count} added tokens are too many (at most ${mostAdded})`, { file });
  }
  const hasRole = new Set([...named.values()].map(tokenContent));
  const isSpecial = (content: string) => hasRole.has(content);
  const said =
    decoder === null
      ? olderTokens(files.addedTokens ?? {}, [...named.values(), ...extra], own, file)
      : decoderTokens(decoder, isSpecial, file);
  const byId = new Map(said);
  const byContent = new Map(said.map(([, token]) => [token.content, token] as const));
  const added = [...byId].sort(([a], [b]) => a - b).map(([, token]) => token);
  const contents = new Set([...own, ...added].map(({ content }) => content));
  // A token that occurs in two forms is added twice: the flags of the last count.
  const forms = new Set<string>();
  for (const [role, value] of [...named, ...extra.map((value) => ['', value] as const)]) {
    const token = flagged(value, isSpecial);
    if (token === undefined || contents.has(token.content)) continue;
    const known = roles.includes(role) ? byContent.get(token.content) : undefined;
    const form = JSON.stringify(known ?? value);
    if (!forms.has(form)) added.push(known ?? token);
    forms.add(form);
  }
  return {
    added: added.map((token) => ({ ...token, special: token.special || isSpecial(token.content) })),
    roles: new Map(
      [...named].flatMap(([role, value]) => {
        const content = tokenContent(value);
        return content === undefined ? [] : [[role, content] as const];
      }),
    ),
  };
}

/** The tokens that have a role, and those of fields such as `image_token`, in that order. */
function namedTokens(settings: Json): Map<string, unknown> {
  const others = Object.keys(settings).filter((key) => key.endsWith('_token'));
  const named = new Map<string, unknown>();
  for (const key of new Set([...roles, ...others])) {
    if (tokenContent(settings[key]) !== undefined) named.set(key, settings[key]);
  }
  const extra = settings.extra_special_tokens;
  if (isJsonObject(extra)) for (const [key, value] of Object.entries(extra)) named.set(key, value);
  return named;
}

/** The list of tokens without a role. Its older name counts if the newer one is absent. */
function extraTokens(config: Json, settings: Json): readonly unknown[] {
  const listsOf = (source: Json) =>
    [source.extra_special_tokens, source.additional_special_tokens].filter((list) =>
      Array.isArray(list),
    );
  const own = listsOf(config);
  const lists: readonly (readonly unknown[])[] = own.length > 0 ? own : listsOf(settings);
  return lists.find((list) => list.length > 0) ?? [];
}

/** `added_tokens_decoder`: tokens by id. */
function decoderTokens(
  decoder: unknown,
  isSpecial: (content: string) => boolean,
  file: string,
): readonly Said[] {
  if (!isJsonObject(decoder)) {
    throw new InputError(`'added_tokens_decoder' is not an object: ${brief(decoder)}`, { file });
  }
  return Object.entries(decoder).map(([key, value]) => {
    const token = flagged(value, isSpecial);
    if (!isTokenId(Number(key)) || token === undefined) {
      throw new InputError(
        `'added_tokens_decoder' has an entry without a valid id and content: ${brief(key)}: ${brief(value)}`,
        { file },
      );
    }
    return [Number(key), token] as const;
  });
}

/** added_tokens.json, ids by content, and the further tokens of tokenizer.json. */
function olderTokens(
  addedTokens: Json,
  special: readonly unknown[],
  own: readonly AddedToken[],
  file: string,
): readonly Said[] {
  const isSpecial = new Set(special.map(tokenContent));
  const tokens: Said[] = [];
  for (const [content, id] of Object.entries(addedTokens)) {
    if (!isTokenId(id)) {
      throw new InputError(`added_tokens.json: ${brief(content)} has an invalid id: ${brief(id)}`, {
        file,
      });
    }
    tokens.push([id, plain(content, isSpecial.has(content))]);
  }
  for (const { id, ...token } of own) tokens.push([id, token]);
  return tokens;
}

/**
 * A token as these files write it: a plain text is a special token; an object says whether it is one, or
 * its content decides.
 */
function flagged(value: unknown, isSpecial: (content: string) => boolean): Flagged | undefined {
  const content = tokenContent(value);
  if (content === undefined) return undefined;
  if (!isJsonObject(value)) return plain(content, true);
  const special = value.special === true || isSpecial(content);
  return {
    content,
    single_word: value.single_word === true,
    lstrip: value.lstrip === true,
    rstrip: value.rstrip === true,
    normalized: typeof value.normalized === 'boolean' ? value.normalized : !special,
    special,
  };
}

function plain(content: string, special: boolean): Flagged {
  const flags = { single_word: false, lstrip: false, rstrip: false };
  return { content, ...flags, normalized: !special, special };
}
