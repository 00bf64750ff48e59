/** The part of the helping thread that makes side files; loaded when it gets the metadata of a file. */

import { InputError } from '../errors.ts';
import { type GgufTokenizer, tokenizerFromGguf } from '../tokenizer/from-gguf.ts';
import { completeSideFiles } from './gguf-side-files.ts';
import { type HelperAnswer, metadataOf, type SideMail } from './helper-mail.ts';

/** The tokenizer, once the metadata has come; or why there is none. */
let begun: { readonly made: GgufTokenizer; readonly file: string } | InputError | null = null;

export function answerSideMail(mail: SideMail): HelperAnswer {
  try {
    if ('metadata' in mail) {
      const { metadata, file } = mail;
      begun = { made: tokenizerFromGguf(metadataOf(metadata), file), file };
      return null;
    }
    if (begun instanceof InputError) throw begun;
    if (begun === null) throw new Error('the metadata comes first');
    const content = completeSideFiles(begun.made, begun.file, mail.config, mail.spec);
    return { made: { ...content, cache: content.cache?.() ?? null } };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    // Whoever waits for the side files gets it.
    begun = error;
    const { message, place, hint } = error;
    return 'metadata' in mail ? null : { refused: { message, place, hint } };
  }
}
