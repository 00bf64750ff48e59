/** Tokens per second over the budget, as a self-contained picture: a line for each way to run the model. */

import { type ChartTexts, escapeXml, svgText } from './chart.ts';

/** One way to run the model, measured at some budgets. */
export interface BudgetLine {
  readonly name: string;
  readonly points: readonly BudgetPoint[];
}

export interface BudgetPoint {
  readonly budgetBytes: number;
  /** Tokens per second: median, lowest, highest. */
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

const [width, height] = [760, 420];
const [left, right, bottom] = [64, 24, 56];
const lineHeight = 18;
const colours = ['#2f6fb0', '#8a8f98', '#c9a227'];
const GB = 1e9;

/** The lines as an SVG document; both axes begin at 0. */
export function budgetSvg(lines: readonly BudgetLine[], { title, notes }: ChartTexts): string {
  const all = lines.flatMap(({ points }) => points);
  const most = Math.max(1, ...all.map(({ budgetBytes }) => budgetBytes));
  const fastest = Math.max(1e-9, ...all.map(({ high }) => high));
  const top = 44 + notes.length * lineHeight + lineHeight;
  const x = (bytes: number) => left + (bytes / most) * (width - left - right);
  const y = (rate: number) => height - bottom - (rate / fastest) * (height - bottom - top);
  const n = (value: number) => value.toFixed(1);
  const drawn = lines.flatMap(({ name, points }, index) => {
    const colour = colours[index % colours.length];
    const path = points.map(({ budgetBytes, median }) => `${n(x(budgetBytes))},${n(y(median))}`);
    return [
      `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${path.join(' ')}"/>`,
      ...points.map(
        ({ budgetBytes, low, high }) =>
          `<path d="M${n(x(budgetBytes))} ${n(y(low))}V${n(y(high))}" stroke="${colour}" stroke-width="4"/>`,
      ),
      `<rect x="${left + 12}" y="${top + 6 + index * lineHeight}" width="12" height="12" fill="${colour}"/>`,
      svgText(left + 30, top + 17 + index * lineHeight, name),
    ];
  });
  const budgets = [...new Set(all.map(({ budgetBytes }) => budgetBytes))];
  const ticks = budgets.map((bytes) =>
    svgText(x(bytes), height - bottom + 18, (bytes / GB).toFixed(2), 'middle', 11),
  );
  const levels = [0, 0.25, 0.5, 0.75, 1].flatMap((part) => {
    const at = n(y(part * fastest));
    return [
      `<path d="M${left} ${at}H${width - right}" stroke="#ddd"/>`,
      svgText(left - 8, Number(at) + 4, (part * fastest).toFixed(1), 'end', 11),
    ];
  });
  const noteLines = notes.map((note, i) => svgText(16, 46 + i * lineHeight, note, 'start', 12));
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13" role="img">` +
    `<title>${escapeXml(title)}</title><rect width="${width}" height="${height}" fill="white"/>` +
    `${svgText(16, 26, title, 'start', 16)}${[...noteLines, ...levels, ...drawn, ...ticks].join('')}` +
    `${svgText(width / 2, height - 14, 'memory for the whole process, GB', 'middle')}` +
    `${svgText(16, top - 4, 'tokens/s', 'start', 11)}</svg>\n`
  );
}
