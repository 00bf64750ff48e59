/** Texts that the user names on the command line. */

import { readFile } from 'node:fs/promises';
import { fileError } from '../checkpoint/file.ts';

/** The UTF-8 text in `file`, exactly as it is; `what` is what the user takes it for. */
export async function readText(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw fileError(error, file, `reading ${what}`);
  }
}
