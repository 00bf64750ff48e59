/** The paper's figures for OPT 6.7B in 16 bit with half of the model in DRAM (tables 2 and 3). */

import type { RowName } from './rows.ts';

export interface PaperRow {
  /** GB of weights in DRAM, and read per token. */
  readonly dramGb: number;
  readonly gbPerToken: number;
  /** GB/s while reading. */
  readonly throughputGb: number;
  readonly ioMs: number;
  /** From the CPU rows of table 3, where the paper has them. */
  readonly memoryMs: number | null;
  readonly computeMs: number | null;
  readonly totalMs: number | null;
}

const ioOnly = { memoryMs: null, computeMs: null, totalMs: null };

export const paperModel = 'OPT 6.7B, 16 bit';

export const paperRows: Readonly<Partial<Record<RowName, PaperRow>>> = {
  naive: {
    ...{ dramGb: 0, gbPerToken: 13.4, throughputGb: 6.1, ioMs: 2196 },
    ...{ memoryMs: 0, computeMs: 986, totalMs: 3182 },
  },
  hybrid: { dramGb: 6.7, gbPerToken: 6.7, throughputGb: 6.1, ioMs: 1090, ...ioOnly },
  predictor: { dramGb: 4.8, gbPerToken: 0.9, throughputGb: 1.25, ioMs: 738, ...ioOnly },
  window: { dramGb: 6.5, gbPerToken: 0.2, throughputGb: 1.25, ioMs: 164, ...ioOnly },
  bundling: {
    ...{ dramGb: 6.5, gbPerToken: 0.2, throughputGb: 2.25, ioMs: 87 },
    ...{ memoryMs: 58, computeMs: 506, totalMs: 669 },
  },
};
