/** The parts of a tokenizer.json that this project uses, and the checks before it is trusted. */

import { brief, isJsonObject } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';

/** A token that is matched in the text before the model processes it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** A component of the pipeline: its type and the parameters of that type. */
export interface Component {
  readonly type: string;
  readonly [parameter: string]: unknown;
}

/** A tokenizer.json. A component is null if the pipeline does not have it. */
export interface TokenizerJson {
  readonly version: string;
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: Component | null;
  readonly pre_tokenizer: Component | null;
  readonly post_processor: Component | null;
  readonly decoder: Component | null;
  readonly model: Component;
}

/** Whether a component, or one inside it, contains a regular expression: `{"Regex": "..."}`. */
export function hasExpression(component: unknown): boolean {
  if (typeof component !== 'object' || component === null) return false;
  return 'Regex' in component || Object.values(component).some(hasExpression);
}

const supportedModels: readonly string[] = ['BPE', 'Unigram', 'WordPiece', 'WordLevel'];

/** A larger id means a damaged file: ids determine the length of an array. */
const largestId = 2 ** 24 - 1;

/** True for a number that can be the id of a token. */
export function isTokenId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= largestId;
}

/**
 * The text of a special token as tokenizer_config.json and special_tokens_map.json write it: a
 * string, or an object `{"__type": "AddedToken", "content": "</s>", ...}`.
 */
export function tokenContent(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (isJsonObject(value) && typeof value.content === 'string') return value.content;
  return undefined;
}

/** Fills in optional parts of a tokenizer.json, and refuses unusable ones. */
export function checkTokenizerJson(json: unknown, file: string): TokenizerJson {
  if (!isJsonObject(json)) throw new InputError('is not a JSON object', { file });
  if ((json.version ?? '1.0') !== '1.0') {
    throw new InputError(`version ${brief(json.version)} of tokenizer.json is not supported`, {
      file,
    });
  }
  const component = (name: string): Component | null => {
    const value = json[name] ?? null;
    if (value !== null && !(isJsonObject(value) && typeof value.type === 'string')) {
      throw new InputError(`'${name}' has no type: ${brief(value)}`, { file });
    }
    return value as Component | null;
  };
  const added = json.added_tokens ?? [];
  if (!Array.isArray(added)) throw new InputError("'added_tokens' is not a list", { file });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.map((token: unknown) => checkAddedToken(token, file)),
    normalizer: component('normalizer'),
    pre_tokenizer: component('pre_tokenizer'),
    post_processor: component('post_processor'),
    decoder: component('decoder'),
    model: checkModel(json.model, file),
  };
}

function checkAddedToken(token: unknown, file: string): AddedToken {
  if (!isJsonObject(token) || !isTokenId(token.id) || typeof token.content !== 'string') {
    throw new InputError(
      `'added_tokens' has an entry without a valid id and content: ${brief(token)}`,
      {
        file,
      },
    );
  }
  const special = token.special === true;
  return {
    id: token.id,
    content: token.content,
    single_word: token.single_word === true,
    lstrip: token.lstrip === true,
    rstrip: token.rstrip === true,
    normalized: typeof token.normalized === 'boolean' ? token.normalized : !special,
    special,
  };
}

function checkModel(model: unknown, file: string): Component {
  if (!isJsonObject(model)) throw new InputError("'model' is missing", { file });
  const type = model.type ?? typeOf(model);
  if (typeof type !== 'string' || !supportedModels.includes(type)) {
    throw new InputError(
      `unsupported tokenizer model ${brief(type)}`,
      { file },
      `Supported are ${supportedModels.join(', ')}`,
    );
  }
  if (type === 'Unigram') checkPieces(model.vocab, file);
  else checkVocabulary(model.vocab, file);
  if (type === 'BPE' && !Array.isArray(model.merges)) {
    throw new InputError("'merges' is not a list", { file });
  }
  return { ...model, type };
}

/** The type of a model without a type, as in files of the first versions. */
function typeOf(model: Readonly<Record<string, unknown>>): string | undefined {
  if (model.merges !== undefined) return 'BPE';
  if (Array.isArray(model.vocab)) return 'Unigram';
  if (model.max_input_chars_per_word !== undefined) return 'WordPiece';
  return model.unk_token === undefined ? undefined : 'WordLevel';
}

/** A Unigram vocabulary: pairs of piece and score, the id is the index. */
function checkPieces(vocab: unknown, file: string): void {
  if (!Array.isArray(vocab)) throw new InputError("'vocab' is not a list", { file });
  for (const [id, piece] of vocab.entries()) {
    if (
      !Array.isArray(piece) ||
      piece.length !== 2 ||
      typeof piece[0] !== 'string' ||
      typeof piece[1] !== 'number'
    ) {
      throw new InputError(
        `entry ${id} of the vocabulary is not a [token, score] pair: ${brief(piece)}`,
        { file },
      );
    }
  }
}

/**
 * Checks a vocabulary `{token: id}`. Ids may have holes.
 * @throws InputError when it is not such an object, an id is unusable, or two tokens share an id.
 */
export function checkVocabulary(
  vocab: unknown,
  file: string,
): asserts vocab is Readonly<Record<string, number>> {
  if (!isJsonObject(vocab)) {
    throw new InputError(`the vocabulary is not a JSON object: ${brief(vocab)}`, { file });
  }
  const tokenOf: string[] = [];
  for (const token in vocab) {
    const id = vocab[token];
    if (!isTokenId(id)) {
      throw new InputError(`token ${brief(token)} has an invalid id: ${brief(id)}`, { file });
    }
    const other = tokenOf[id];
    if (other !== undefined) {
      throw new InputError(`id ${id} belongs to two tokens, ${brief(other)} and ${brief(token)}`, {
        file,
      });
    }
    tokenOf[id] = token;
  }
}
