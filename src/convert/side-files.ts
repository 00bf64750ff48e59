/** The small files of a model directory: configuration and tokenizer, as the checkpoint had them. */

import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../errors.ts';
import { crcHex } from '../flash/checksum.ts';
import type { StoredFile } from '../flash/manifest.ts';
import type { ModelSpec } from '../models/spec.ts';
import { readBpeFiles } from '../tokenizer/from-bpe-files.ts';
import { loadTokenizer } from '../tokenizer/tokenizer.ts';
import { writeError } from './output-directory.ts';

const copied = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
];

/** Larger ones are not what their name says. */
const largestBytes = 256 * 1024 * 1024;

/** Reads the side files of a checkpoint; makes a tokenizer.json where only BPE files exist. */
export async function readSideFiles(dir: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of copied) {
    const path = join(dir, name);
    const found = await stat(path).catch(() => null);
    if (found === null || !found.isFile()) continue;
    if (found.size > largestBytes) {
      throw new InputError(`is too large (${found.size} bytes)`, { file: path });
    }
    files.set(name, await readFile(path));
  }
  if (!files.has('tokenizer.json')) {
    if (!files.has('vocab.json') || !files.has('merges.txt')) {
      throw new InputError(
        'no tokenizer: neither tokenizer.json nor vocab.json with merges.txt',
        { file: dir },
        "Add the model's tokenizer files",
      );
    }
    files.set('tokenizer.json', Buffer.from(JSON.stringify(await readBpeFiles(dir))));
  }
  return files;
}

/** Writes the side files into the model directory and proves that its tokenizer works. */
export async function writeSideFiles(
  files: ReadonlyMap<string, Uint8Array>,
  target: string,
  checkpoint: string,
  spec: ModelSpec,
): Promise<Record<string, StoredFile>> {
  const stored: Record<string, StoredFile> = {};
  for (const [name, data] of files) {
    const path = join(target, name);
    try {
      await writeFile(path, data, { flag: 'wx' });
    } catch (cause) {
      throw writeError(cause, path);
    }
    stored[name] = { bytes: data.length, crc32: crcHex(data) };
  }
  const tokenizer = await loadTokenizer(target, spec).catch((error: unknown) => {
    if (!(error instanceof InputError)) throw error;
    // The user knows the checkpoint, not our temporary directory.
    throw new InputError(error.message, { ...error.place, file: checkpoint }, error.hint);
  });
  if (tokenizer.vocabularySize > spec.vocabSize) {
    throw new InputError(
      `the tokenizer has ${tokenizer.vocabularySize} tokens, the model's embedding ${spec.vocabSize}`,
      { file: checkpoint },
      'The tokenizer belongs to another model',
    );
  }
  return stored;
}
