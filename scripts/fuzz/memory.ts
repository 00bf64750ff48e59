/** The peak of this process's resident memory since the last reset. */

import { writeFileSync } from 'node:fs';
import { peakResidentBytes, residentBytes } from '../../src/plan/process.ts';

/** Resets the peak; returns the resident bytes at that moment. */
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
