/** Resident memory of this process, at its highest since it was asked last. */

import { writeFileSync } from 'node:fs';
import { peakResidentBytes, residentBytes } from '../../src/plan/process.ts';

/** Has the peak begin anew; the resident bytes that it begins with. */
export function resetPeak(): number {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
    return residentBytes();
  } catch {
    return peakResidentBytes(); // elsewhere it only ever rises
  }
}

/** The highest resident bytes since {@link resetPeak}. */
export const peakBytes = peakResidentBytes;
