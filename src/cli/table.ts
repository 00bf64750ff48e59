/** Tables of results and figures. */

import Table from 'cli-table3';
import { longestLine } from '../errors.ts';
import { cutMiddle, shown } from '../plain-text.ts';

/** The most characters of a cell; the last cell of a row may be longer, for a whole sentence. */
const longestCell = 160;

/** Rows of cells as a plain aligned table; columns of numbers are right-aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) =>
    row.map((cell, column) =>
      shown(cell, column === row.length - 1 ? longestLine - longestCell : longestCell),
    ),
  );
  const numeric = head.map((_, column) =>
    cells.every((row) => /^[-\d]/.test(row[column] ?? '') || row[column] === ''),
  );
  const grid = new Table({
    head: [...head],
    colAligns: numeric.map((isNumeric) => (isNumeric ? 'right' : 'left')),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: '',
    },
  });
  grid.push(...cells);
  return `${grid
    .toString()
    .split('\n')
    .map((line) => cutMiddle(line.trimEnd(), longestLine))
    .join('\n')}\n`;
}
