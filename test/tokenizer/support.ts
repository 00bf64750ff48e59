/** What the tokenizer tests share. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tokenizerJsonFromBpe } from '../../src/tokenizer/from-bpe-files.ts';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';

/** Path of a fixture. */
export function fixture(...parts: readonly string[]): string {
  return fileURLToPath(new URL(`../../fixtures/${parts.join('/')}`, import.meta.url));
}

export async function readFixture(...parts: readonly string[]): Promise<string> {
  return readFile(fixture(...parts), 'utf8');
}

/** A directory that holds `files` (objects as JSON) and is gone when the test ends. */
export async function directoryWith(
  context: TestContext,
  files: Readonly<Record<string, unknown>>,
): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'flashllm-tokenizer-'));
  context.after(() => rm(dir, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(
      join(dir, name),
      typeof content === 'string' ? content : JSON.stringify(content),
    );
  }
  return dir;
}

/** GPT-2's tokenizer, made from its vocab.json and merges.txt. */
export async function gpt2(context: TestContext): Promise<Tokenizer> {
  const json = tokenizerJsonFromBpe(
    JSON.parse(await readFixture('gpt2', 'vocab.json')),
    await readFixture('gpt2', 'merges.txt'),
  );
  const dir = await directoryWith(context, { 'tokenizer.json': json, 'tokenizer_config.json': {} });
  return loadTokenizer(dir);
}

/** Pseudo-random numbers in [0, 1) that are the same in every run (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A random text of well-formed Unicode: ASCII, letters of many scripts, emoji, odd blanks. */
export function randomText(random: () => number, length: number): string {
  const ranges: readonly (readonly [first: number, last: number])[] = [
    [0x20, 0x7e],
    [0x61, 0x7a],
    [0x20, 0x20],
    [0x09, 0x0d],
    [0x80, 0x7ff],
    [0x800, 0xd7ff],
    [0xe000, 0xffff],
    [0x1f300, 0x1faff],
    [0x10000, 0x10ffff],
  ];
  let text = '';
  for (let i = 0; i < length; i++) {
    const [first, last] = ranges[Math.floor(random() * ranges.length)] ?? [0x20, 0x20];
    text += String.fromCodePoint(first + Math.floor(random() * (last - first + 1)));
  }
  return text;
}
