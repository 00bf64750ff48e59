/** Adds tokens around the ids of a text: the component `post_processor` of a tokenizer.json. */

import { brief, isJsonObject } from '../../checkpoint/json-file.ts';
import { isTokenId } from '../tokenizer-json.ts';
import type { Builders, Part } from './part.ts';

/**
 * The ids of a text with the tokens around them; without special tokens if the caller does not want them.
 */
export type PostProcessor = (ids: number[], addSpecial: boolean) => number[];

const builders: Builders<PostProcessor> = {
  TemplateProcessing: template,
  BertProcessing: (part) => around(specialId(part, 'cls'), specialId(part, 'sep')),
  RobertaProcessing: (part) => {
    part.ignore('trim_offsets', 'add_prefix_space');
    return around(specialId(part, 'cls'), specialId(part, 'sep'));
  },
  ByteLevel: (part) => {
    part.ignore('add_prefix_space', 'trim_offsets', 'use_regex');
    return (ids) => ids;
  },
  Sequence: (part) => {
    const parts = part.parts('processors');
    const steps = parts.map(postProcessorOf);
    // In the reference, a second processor processes the parts of the first one's result.
    if (parts.filter(({ type }) => type !== 'ByteLevel').length > 1) {
      throw part.refused('more than one of its processors adds tokens');
    }
    return (ids, addSpecial) => steps.reduce((result, step) => step(result, addSpecial), ids);
  },
};

/** @throws InputError when the post-processor is not supported */
export function postProcessorOf(part: Part): PostProcessor {
  return part.build(builders);
}

function around(before: number, after: number): PostProcessor {
  return (ids, addSpecial) => (addSpecial ? [before, ...ids, after] : ids);
}

/** The id in a pair `["</s>", 2]`. */
function specialId(part: Part, name: string): number {
  const [token, id, ...more] = part.list(name);
  if (typeof token === 'string' && isTokenId(id) && more.length === 0) return id;
  throw part.refused(`'${name}' is not a token and its id: ${brief(part.list(name))}`);
}

/** Ids, or a placeholder for the text. */
type Piece = readonly number[] | 'text';

function template(part: Part): PostProcessor {
  part.ignore('pair');
  const tokens = part.object('special_tokens');
  const pieces = part.list('single').map((piece) => pieceOf(piece, tokens, part));
  return (ids, addSpecial) =>
    pieces.flatMap((piece) => (piece === 'text' ? ids : addSpecial ? piece : []));
}

function pieceOf(piece: unknown, tokens: Readonly<Record<string, unknown>>, part: Part): Piece {
  const { Sequence: sequence, SpecialToken: special } = isJsonObject(piece) ? piece : {};
  if (isJsonObject(sequence) && sequence.id === 'A') return 'text';
  const name = isJsonObject(special) ? special.id : undefined;
  const token = typeof name === 'string' && Object.hasOwn(tokens, name) ? tokens[name] : undefined;
  const ids: unknown = isJsonObject(token) ? token.ids : undefined;
  if (Array.isArray(ids) && ids.every(isTokenId)) return ids;
  throw part.refused(
    `'single' has ${brief(piece)}, which is neither the text nor one of 'special_tokens' with its ids`,
  );
}
