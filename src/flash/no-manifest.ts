/** Says what a path is that was given as a model directory and is none, and how to make one of it. */

import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { InputError } from '../errors.ts';
import { manifestFile } from './manifest.ts';

const usual = 'Make a model with: flashllm convert <checkpoint> <model>';

/**
 * The error about a directory without a manifest.
 * @param cause why the manifest could not be read
 */
export async function noManifest(dir: string, cause: NodeJS.ErrnoException): Promise<InputError> {
  const { what, hint = usual } = await describe(dir, cause);
  return new InputError(what, { file: dir }, hint, { cause });
}

interface Description {
  readonly what: string;
  readonly hint?: string;
}

async function describe(dir: string, cause: NodeJS.ErrnoException): Promise<Description> {
  const found = await stat(dir).catch(() => null);
  if (found === null) return { what: await whyMissing(dir) };
  if (!found.isDirectory()) {
    if (!(found.isFile() && (await isGguf(dir)))) return { what: 'is not a directory' };
    return {
      what: 'is a GGUF file and not a model directory',
      hint: `Convert it first: flashllm convert ${dir} <model>`,
    };
  }
  if (cause.code !== 'ENOENT') return { what: `is not a flashllm model: ${cause.message}` };
  const none = `is not a flashllm model: no ${manifestFile} in it`;
  const names: readonly string[] = await readdir(dir).catch(() => []);
  if (names.includes('adapter_config.json')) {
    return {
      what: `${none}; it is an adapter`,
      hint: `Merge it into its checkpoint: flashllm convert <checkpoint> <model> --lora ${dir}`,
    };
  }
  if (names.includes('config.json')) {
    return {
      what: `${none}; it is a checkpoint`,
      hint: `Convert it first: flashllm convert ${dir} <model>`,
    };
  }
  const gguf = names.find((name) => name.toLowerCase().endsWith('.gguf'));
  if (gguf === undefined) return { what: none };
  return {
    what: none,
    hint: `Convert the file in it: flashllm convert ${join(dir, gguf)} <model>`,
  };
}

/** Between two renames no directory has the name: see OutputDirectory. */
async function whyMissing(dir: string): Promise<string> {
  const name = `${basename(resolve(dir))}.replaced-`;
  const siblings: string[] = await readdir(dirname(resolve(dir))).catch(() => []);
  const aside = siblings.find((sibling) => sibling.startsWith(name));
  if (aside === undefined) return 'no such directory';
  return `no such directory; a process was killed while it replaced the model, which is in ${aside}: rename that`;
}

async function isGguf(path: string): Promise<boolean> {
  const file = await open(path).catch(() => null);
  if (file === null) return false;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.toString('latin1') === 'GGUF';
  } catch {
    return false;
  } finally {
    await file.close();
  }
}
