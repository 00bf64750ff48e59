/** The thread that computes checksums of weights in shared memory; see checksum-thread.ts. */

import { parentPort } from 'node:worker_threads';
import { BlockChecksums } from '../flash/checksum.ts';

/** A new file, by the bytes that one checksum of each of its tensors covers; a part of one; the file's end. */
export type ChecksumMail =
  | { readonly memory: WebAssembly.Memory; readonly blockBytes: readonly number[] }
  | { readonly tensor: number; readonly address: number; readonly bytes: number }
  | { readonly tensor: number; readonly part: Uint8Array }
  | 'finish';

/** Null for a part, which may change from now on; for a file, the checksums of each tensor. */
export type ChecksumAnswer = readonly Uint32Array[] | null;

if (parentPort === null) throw new Error('is not a worker thread');
const port = parentPort;

let memory: WebAssembly.Memory | null = null;
let sums: readonly BlockChecksums[] = [];

port.on('message', (mail: ChecksumMail) => {
  if (mail === 'finish') {
    port.postMessage(sums.map((sum) => sum.finish()));
  } else if ('memory' in mail) {
    ({ memory } = mail);
    sums = mail.blockBytes.map((bytes) => new BlockChecksums(bytes));
  } else {
    const sum = sums[mail.tensor];
    if (memory === null || sum === undefined) throw new Error(`there is no tensor ${mail.tensor}`);
    sum.add('part' in mail ? mail.part : new Uint8Array(memory.buffer, mail.address, mail.bytes));
    port.postMessage(null);
  }
});
