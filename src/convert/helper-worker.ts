/** The code of the thread that helps a conversion; see helper.ts. */

import { parentPort } from 'node:worker_threads';
import type { HelperAnswer, SideMail, SumMail } from './helper-mail.ts';
import { OwnSums } from './tensor-sums.ts';

if (parentPort === null) throw new Error('is not a worker thread');
const port = parentPort;

let memory: WebAssembly.Memory | null = null;
let sums = new OwnSums([]);

async function answerTo(mail: SideMail | SumMail): Promise<HelperAnswer> {
  if (mail === 'finish') return { sums: await sums.finish() };
  if ('memory' in mail) {
    ({ memory } = mail);
    sums = new OwnSums(mail.blockBytes);
    return null;
  }
  if ('tensor' in mail) {
    if (memory === null) throw new Error('a file comes first');
    const { tensor } = mail;
    const isCopy = 'part' in mail;
    await sums.add(
      tensor,
      isCopy ? mail.part : new Uint8Array(memory.buffer, mail.address, mail.bytes),
    );
    return null;
  }
  // The code for tokenizers takes 40 ms to load.
  const { answerSideMail } = await import('./side-job.ts');
  return answerSideMail(mail);
}

let last = Promise.resolve();
port.on('message', (mail: SideMail | SumMail) => {
  last = last.then(async () => port.postMessage(await answerTo(mail)));
});
