/**
 * Tensor names from a file are shown on terminals and used as keys: they must be short and free of control
 * characters.
 */

import { InputError } from '../errors.ts';
import { brief } from './json-file.ts';

/** Longest name, in UTF-16 units. The longest known have about 100. */
const maxNameLength = 1024;

/** @throws InputError when `name`, found in `file`, is not a valid name of a tensor. */
export function checkTensorName(name: string, file: string): void {
  if (name.length > maxNameLength) {
    throw new InputError(
      `the name of a tensor has ${name.length} characters (at most ${maxNameLength})`,
      { file },
    );
  }
  if (/\p{Cc}/u.test(name)) {
    throw new InputError(`the name of a tensor has control characters: ${brief(name)}`, { file });
  }
}
