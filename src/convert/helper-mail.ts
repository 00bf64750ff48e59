/** What a conversion and its helping thread tell each other; see helper.ts. */

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

/** For side files: first the metadata, with which the tables are made, then what completes the files. */
export type SideMail =
  | { readonly metadata: PlainMetadata; readonly file: string }
  | { readonly config: Config; readonly spec: TokenSpec };

/** For checksums: a file, by the bytes that each checksum of its tensors covers; parts of it; its end. */
export type SumMail =
  | { readonly memory: WebAssembly.Memory; readonly blockBytes: readonly number[] }
  | { readonly tensor: number; readonly address: number; readonly bytes: number }
  | { readonly tensor: number; readonly part: Uint8Array }
  | 'finish';

/** Side files as they travel: without functions. */
export interface MadeSideFiles extends Omit<SideContent, 'cache'> {
  readonly cache: Uint8Array | null;
}

/**
 * The answer to each mail, in their order: null if there is nothing to tell, the side files, the checksums of
 * each tensor of a file, or why the checkpoint is refused.
 */
export type HelperAnswer =
  | null
  | { readonly made: MadeSideFiles }
  | { readonly sums: readonly Uint32Array[] }
  | {
      readonly refused: {
        readonly message: string;
        readonly place: ErrorPlace;
        readonly hint: string | undefined;
      };
    };

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
