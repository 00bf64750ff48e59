/** The thread that makes the side files of a GGUF file while its weights are copied; see side-thread.ts. */

import { parentPort } from 'node:worker_threads';
import { InputError } from '../errors.ts';
import { type GgufTokenizer, tokenizerFromGguf } from '../tokenizer/from-gguf.ts';
import { completeSideFiles } from './gguf-side-files.ts';
import { metadataOf, type SideAnswer, type SideMail } from './side-mail.ts';

if (parentPort === null) throw new Error('is not a worker thread');
const port = parentPort;

/** The tokenizer, once the metadata has come. */
let begun: { readonly made: GgufTokenizer; readonly file: string } | null = null;

/** @throws InputError when the file has no usable tokenizer */
function answerTo(mail: SideMail): SideAnswer | null {
  if ('metadata' in mail) {
    const { metadata, file } = mail;
    begun = { made: tokenizerFromGguf(metadataOf(metadata), file), file };
    return null;
  }
  if (begun === null) throw new Error('the metadata comes first');
  const content = completeSideFiles(begun.made, begun.file, mail.config, mail.spec);
  return { made: { ...content, cache: content.cache?.() ?? null } };
}

function answerOrError(mail: SideMail): SideAnswer | null {
  try {
    return answerTo(mail);
  } catch (error) {
    if (!(error instanceof InputError)) return { failed: String(error) };
    const { message, place, hint } = error;
    return { refused: { message, place, hint } };
  }
}

port.on('message', (mail: SideMail) => {
  const answer = answerOrError(mail);
  if (answer === null) return;
  port.postMessage(answer);
  port.close();
});
