/** Finds the tokens with special roles in a GGUF file. */

import { TextList } from '../../text-list.ts';
import { tokenizerModels } from './pre-tokenizers.ts';

/** The default ids of SentencePiece. */
const sentencePieceIds: ReadonlyMap<string, number> = new Map([
  ['bos', 1],
  ['eos', 2],
]);

/**
 * Roles of tokens that end a text: the end of a text, of a turn, of a message, and of a fill-in-the-middle
 * completion.
 */
export const endingRoles = ['eos', 'eot', 'eom', 'fim_pad', 'fim_rep', 'fim_sep'] as const;

/**
 * The id from `tokenizer.ggml.<role>_token_id`, or the tokenizer's default; null when neither is a token.
 */
export function specialTokenId(
  metadata: ReadonlyMap<string, unknown>,
  role: string,
): number | null {
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const count = tokens instanceof TextList ? tokens.length : Number.POSITIVE_INFINITY;
  const isToken = (id: unknown): id is number =>
    typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < count;
  const named = metadata.get(`tokenizer.ggml.${role}_token_id`);
  if (isToken(named)) return named;
  const model = metadata.get('tokenizer.ggml.model');
  const isPieces = typeof model === 'string' && tokenizerModels.get(model) === 'SentencePiece';
  const usual = isPieces ? sentencePieceIds.get(role) : undefined;
  return isToken(usual) ? usual : null;
}
