/** Attention, called with named arguments; kernel-table.ts describes them. */

import { kernelTable } from './kernel-table.ts';
import { callerByName } from './signature.ts';

/** Calls `attention` or `attentionF16`, which have the same signature. */
export const callAttention = callerByName(kernelTable.attention);
