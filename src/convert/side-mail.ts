/** What a conversion and the thread that makes the side files of a GGUF file tell each other. */

import type { GgufMetadata, GgufValue } from '../checkpoint/gguf/metadata.ts';
import type { ErrorPlace } from '../errors.ts';
import { TextList } from '../text-list.ts';
import type { SideContent } from './side-content.ts';
import type { Config, TokenSpec } from './side-file-maker.ts';

/** A list of texts as it travels: classes do not. */
interface PlainTexts {
  readonly bytes: Uint8Array;
  readonly ends: Uint32Array;
}

type PlainMetadata = ReadonlyMap<string, Exclude<GgufValue, TextList> | PlainTexts>;

/** First the metadata, with which the tables are made, then what completes the files. */
export type SideMail =
  | { readonly metadata: PlainMetadata; readonly file: string }
  | { readonly config: Config; readonly spec: TokenSpec };

/** The side files, the problem that refuses the file, or the error that should not have happened. */
export type SideAnswer =
  | { readonly made: Omit<SideContent, 'cache'> & { readonly cache: Uint8Array | null } }
  | {
      readonly refused: {
        readonly message: string;
        readonly place: ErrorPlace;
        readonly hint: string | undefined;
      };
    }
  | { readonly failed: string };

/** The entries of which a tokenizer is made. */
const tokenizerPrefix = 'tokenizer.';

/** The metadata that the thread needs; its lists are copies, whose buffers can be given away. */
export function plainMetadata(metadata: GgufMetadata): PlainMetadata {
  return new Map(
    [...metadata]
      .filter(([key]) => key.startsWith(tokenizerPrefix))
      .map(([key, value]) => [key, value instanceof TextList ? plainTexts(value) : value]),
  );
}

function plainTexts({ bytes, ends }: TextList): PlainTexts {
  return { bytes: Uint8Array.from(bytes), ends: Uint32Array.from(ends) };
}

/** The buffers of the lists. */
export function listBuffers(metadata: PlainMetadata): ArrayBuffer[] {
  return [...metadata.values()].flatMap((value) =>
    isTexts(value) ? [value.bytes.buffer as ArrayBuffer, value.ends.buffer as ArrayBuffer] : [],
  );
}

/** The metadata as a reader gives it. */
export function metadataOf(plain: PlainMetadata): GgufMetadata {
  return new Map([...plain].map(([key, value]) => [key, isTexts(value) ? textsOf(value) : value]));
}

function textsOf({ bytes: { buffer, byteOffset, length }, ends }: PlainTexts): TextList {
  return new TextList(Buffer.from(buffer, byteOffset, length), ends);
}

function isTexts(value: GgufValue | PlainTexts): value is PlainTexts {
  return typeof value === 'object' && 'ends' in value && !(value instanceof TextList);
}
