/** Resident memory of this process, as the highest since it was asked last. */

import { writeFileSync } from 'node:fs';
import { peakResidentBytes, residentBytes } from '../../src/memory/process.ts';

/** Has the peak begin anew where the system can do that; the resident bytes now. */
export function resetPeak(): number {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Elsewhere the peak is that of the whole process, and the first case that reaches it is told.
  }
  return residentBytes();
}

/** The highest resident bytes since {@link resetPeak}. */
export const peakBytes = peakResidentBytes;
