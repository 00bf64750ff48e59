/**
 * Finds the tokens that end a text. Configurations name one or two ids, but models were trained on more end
 * tokens: the configuration of a Qwen chat model names `<|im_end|>`, but the model ends a document with
 * `<|endoftext|>`. Only the names of such tokens identify them, so this file lists the names.
 */

import type { AddedToken } from './tokenizer-json.ts';

/** A token that ends a text. */
export interface EndToken {
  readonly id: number;
  readonly text: string;
}

/** Marks that do not occur in ordinary text: if the vocabulary has one as a token, it is an end token. */
const marks: ReadonlySet<string> = new Set([
  // End of a text.
  '<|endoftext|>',
  '<|end_of_text|>',
  '<\uff5cend\u2581of\u2581sentence\uff5c>', // DeepSeek
  '<|eos|>',
  // End of a turn or a message.
  '<|im_end|>', // ChatML
  '<|eot_id|>', // Llama 3
  '<|eom_id|>',
  '<|eot|>', // Llama 4
  '<|eom|>',
  '<|end|>', // Phi 3
  '<|end_of_turn|>', // OpenChat
  '<|endofturn|>',
  '[|endofturn|]', // EXAONE
  '<|END_OF_TURN_TOKEN|>', // Command R
  '<end_of_turn>', // Gemma
  '<turn|>',
  '<end_of_utterance>', // SmolVLM
  '<EOT>', // Code Llama
  '\u2581<EOT>',
  '_<EOT>',
  '<|EOT|>', // DeepSeek Coder
  // The result of a tool follows, which the model does not generate.
  '<|return|>', // gpt-oss
  '<|call|>',
  '<|flush|>', // Solar
  '<|calls|>',
  '<|tool_response>', // Gemma
  // End of a fill-in-the-middle completion: padding, or the next file or repository.
  '<|fim_pad|>',
  '<fim-pad>',
  '<fim_pad>',
  '<|fim_repo|>',
  '<fim-repo>',
  '<|repo_name|>',
  '<|file_sep|>',
]);

/**
 * Marks that may also be markup in a text: they count only if the vocabulary has them as special tokens.
 */
const markup: ReadonlySet<string> = new Set([
  '</s>',
  '<eos>',
  '[EOS]',
  '[EOT]',
  '<PAD>',
  '[PAD]',
  '<REPO>',
  '<reponame>',
  '[e~[', // MiniMax
]);

/**
 * The ids of the added tokens whose name marks the end of a text. Pieces of the model's own vocabulary are
 * text, whatever their names.
 */
export function endsByName(
  added: Iterable<Pick<AddedToken, 'id' | 'content' | 'special'>>,
): number[] {
  const found = [...added].filter(
    ({ content, special }) => marks.has(content) || (special && markup.has(content)),
  );
  const names = new Set(found.map(({ content }) => content));
  const has = (name: string) => names.has(name);
  // If calls have their own mark, `<|end|>` separates the messages of one answer.
  const parts = (has('<|call|>') && has('<|return|>')) || (has('<|calls|>') && has('<|flush|>'));
  return found.filter(({ content }) => !(parts && content === '<|end|>')).map(({ id }) => id);
}

/** The properties of a tokenizer that determine how its texts end. */
interface EndingTokenizer {
  readonly eosIds: readonly number[];
  decode(ids: readonly number[]): string;
}

/** The tokens that end a text, with their names. */
export function endTokensOf(tokenizer: EndingTokenizer): readonly EndToken[] {
  return tokenizer.eosIds.map((id) => ({ id, text: tokenizer.decode([id]) }));
}
