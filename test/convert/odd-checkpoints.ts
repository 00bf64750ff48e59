/** Directories with an oddity that people have met: what is to become of each. */

import type { Oddity } from './odd-changes.ts';
import { heads, names, quantised, sizes } from './odd-configs.ts';
import { indexes, leftovers, texts } from './odd-files.ts';

export const oddities: readonly Oddity[] = [
  ...leftovers,
  ...indexes,
  ...texts,
  ...heads,
  ...quantised,
  ...sizes,
  ...names,
];
