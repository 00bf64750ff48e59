/**
 * Which tokens end a text. Configurations name one or two ids, while models were trained on more marks
 * than that: a chat model of the Qwen family is said to end at `<|im_end|>` and ends a document with
 * `<|endoftext|>`. What such a mark is called is the only thing that tells it, so the names are here.
 */

import type { AddedToken } from './tokenizer-json.ts';

/** A token that ends a text. */
export interface EndToken {
  readonly id: number;
  readonly text: string;
}

/** Marks that no text holds by itself: where the vocabulary has one as a whole, it is meant. */
const marks: ReadonlySet<string> = new Set([
  // Of a text.
  '<|endoftext|>',
  '<|end_of_text|>',
  '<\uff5cend\u2581of\u2581sentence\uff5c>', // DeepSeek
  '<|eos|>',
  // Of a turn or a message.
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
  // What follows is another's to say: the result of a tool.
  '<|return|>', // gpt-oss
  '<|call|>',
  '<|flush|>', // Solar
  '<|calls|>',
  '<|tool_response>', // Gemma
  // Of what was to be filled in: padding, or the next file or repository.
  '<|fim_pad|>',
  '<fim-pad>',
  '<fim_pad>',
  '<|fim_repo|>',
  '<fim-repo>',
  '<|repo_name|>',
  '<|file_sep|>',
]);

/** Marks that may be markup of the text as well: they count where the vocabulary has them as special. */
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
 * The ids of the added tokens whose name says that a text ends there. Pieces of the model's own
 * vocabulary are text, whatever they are called.
 */
export function endsByName(
  added: Iterable<Pick<AddedToken, 'id' | 'content' | 'special'>>,
): number[] {
  const found = [...added].filter(
    ({ content, special }) => marks.has(content) || (special && markup.has(content)),
  );
  const names = new Set(found.map(({ content }) => content));
  const has = (name: string) => names.has(name);
  // Where calls have a mark of their own, `<|end|>` parts the messages of one answer.
  const parts = (has('<|call|>') && has('<|return|>')) || (has('<|calls|>') && has('<|flush|>'));
  return found.filter(({ content }) => !(parts && content === '<|end|>')).map(({ id }) => id);
}

/** What of a tokenizer says how its texts end. */
interface EndingTokenizer {
  readonly eosIds: readonly number[];
  decode(ids: readonly number[]): string;
}

/** The tokens that end a text, with what they are called. */
export function endTokensOf(tokenizer: EndingTokenizer): readonly EndToken[] {
  return tokenizer.eosIds.map((id) => ({ id, text: tokenizer.decode([id]) }));
}
