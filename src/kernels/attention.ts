/** Attention, called by the names of its parameters, of which kernel-table.ts says what they are. */

import { kernelTable } from './kernel-table.ts';
import { callerByName } from './signature.ts';

/** Calls `attention`, or `attentionF16`, which has the same signature. */
export const callAttention = callerByName(kernelTable.attention);
