/** The kinds of numbers that a spec in `flash.json` consists of. */

import * as v from 'valibot';

export const positive = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
export const index = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
export const finite = v.pipe(v.number(), v.finite());
export const factor = v.pipe(finite, v.gtValue(0));
