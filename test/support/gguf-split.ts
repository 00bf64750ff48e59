/** A GGUF file in several, as llama.cpp splits it. */

import { parseGguf } from '../../scripts/fuzz/gguf-document.ts';
import { ggufBytes, u32 } from './gguf.ts';

/** The parts of `file` by their names, `<stem>-00001-of-00003.gguf` the first of three. */
export function splitGguf(file: Buffer, stem: string, parts: number): Record<string, Buffer> {
  const { metadata, tensors } = parseGguf(file);
  const u16 = (number: number) => Buffer.concat([u32(2), u32(number).subarray(0, 2)]);
  const at = (n: number) => Math.floor((tensors.length * n) / parts);
  return Object.fromEntries(
    Array.from({ length: parts }, (_, part) => {
      const split: [string, Buffer][] = [
        ['split.no', u16(part)],
        ['split.count', u16(parts)],
        ['split.tensors.count', Buffer.concat([u32(5), u32(tensors.length)])],
      ];
      const bytes = ggufBytes({
        metadata: part === 0 ? [...metadata, ...split] : split,
        tensors: tensors.slice(at(part), at(part + 1)),
      });
      return [`${stem}-0000${part + 1}-of-0000${parts}.gguf`, bytes] as const;
    }),
  );
}
