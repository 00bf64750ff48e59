/**
 * The comparison as a self-contained picture. Bars are linear, as a logarithmic scale would distort their
 * parts; their values are written beside them.
 */

import { oneLine } from '../plain-text.ts';
import type { RowReport, Spread } from './report.ts';

/** The texts around the bars. */
export interface ChartTexts {
  readonly title: string;
  /** Lines below the title: what was measured, and how. */
  readonly notes: readonly string[];
}

const width = 760;
const left = 120;
const right = 190;
const barHeight = 22;
const rowHeight = 36;
const lineHeight = 18;

const parts: readonly {
  readonly key: 'ioMs' | 'memoryMs' | 'computeMs';
  readonly name: string;
  readonly colour: string;
}[] = [
  { key: 'ioMs', name: 'waiting for flash', colour: '#2f6fb0' },
  { key: 'memoryMs', name: 'memory management', colour: '#c9a227' },
  { key: 'computeMs', name: 'compute', colour: '#8a8f98' },
];

/** The rows as an SVG document. */
export function chartSvg(rows: readonly RowReport[], { title, notes }: ChartTexts): string {
  const longest = Math.max(1e-9, ...rows.map(({ totalMs }) => totalMs.high));
  const x = (ms: number) => left + (ms / longest) * (width - left - right);
  const top = 48 + notes.length * lineHeight + lineHeight;
  const bottom = top + rows.length * rowHeight;
  const height = bottom + 28;
  const bars = rows.flatMap((row, index) => {
    const y = top + index * rowHeight;
    let at = 0;
    const stack = parts.map(({ key, colour }) => {
      const [from, to] = [x(at), x(at + row[key].median)];
      at += row[key].median;
      return `<rect x="${n(from)}" y="${y}" width="${n(to - from)}" height="${barHeight}" fill="${colour}"/>`;
    });
    const middle = y + barHeight / 2;
    const { low, high, median } = row.totalMs;
    const speedup = row.speedup === null || row.row === 'naive' ? '' : `, ${times(row.speedup)}`;
    return [
      svgText(left - 8, middle + 5, row.title, 'end'),
      ...stack,
      `<path d="M${n(x(low))} ${middle}H${n(x(high))}" stroke="#222"/>`,
      svgText(x(Math.max(high, median)) + 8, middle + 5, `${milliseconds(median)}${speedup}`),
    ];
  });
  const legend = parts.flatMap(({ name, colour }, index) => {
    const at = left + index * 170;
    return [
      `<rect x="${at}" y="${bottom + 4}" width="12" height="12" fill="${colour}"/>`,
      svgText(at + 18, bottom + 15, name),
    ];
  });
  const lines = notes.map((note, index) => svgText(16, 48 + index * lineHeight, note, 'start', 12));
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13" role="img">` +
    `<title>${escapeXml(title)}</title><rect width="${width}" height="${height}" fill="white"/>` +
    `${svgText(16, 26, title, 'start', 16)}${[...lines, ...bars, ...legend].join('')}</svg>\n`
  );
}

/** A table of the page. */
export interface ChartTable {
  readonly caption: string;
  readonly head: readonly string[];
  readonly cells: readonly (readonly string[])[];
}

/** The chart and tables of all figures as one page that loads no other file. */
export function chartHtml(
  rows: readonly RowReport[],
  texts: ChartTexts,
  tables: readonly ChartTable[],
): string {
  const row = (items: readonly string[], tag: string) =>
    `<tr>${items.map((item) => `<${tag}>${escapeXml(item)}</${tag}>`).join('')}</tr>`;
  const meanings = rows.map(
    ({ title, what }) => `<li><b>${escapeXml(title)}</b>: ${escapeXml(what)}</li>`,
  );
  const shown = tables.map(
    ({ caption, head, cells }) =>
      `<h2>${escapeXml(caption)}</h2>` +
      `<table>${row(head, 'th')}${cells.map((items) => row(items, 'td')).join('')}</table>`,
  );
  return (
    `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>${escapeXml(texts.title)}</title>` +
    '<style>body{font:14px sans-serif;margin:24px;max-width:1000px}h2{font-size:16px}' +
    'table{border-collapse:collapse}td,th{padding:4px 10px;text-align:right;' +
    'border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}</style></head><body>\n' +
    `${chartSvg(rows, texts)}<ul>${meanings.join('')}</ul>${shown.join('')}</body></html>\n`
  );
}

/** `1.23 s` or `45.6 ms`. */
export function milliseconds(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;
}

/** `45.6 (44.0-50.1)`, without the spread where there is one value. */
export function withSpread({ median, low, high }: Spread): string {
  const digits = (value: number) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
  return low === high ? digits(median) : `${digits(median)} (${digits(low)}-${digits(high)})`;
}

function times(speedup: number): string {
  return `${speedup.toFixed(1)}x as fast`;
}

/** A line of text at a place; its `anchor` is SVG's. */
export function svgText(
  x: number,
  y: number,
  content: string,
  anchor = 'start',
  size = 13,
): string {
  return `<text x="${n(x)}" y="${n(y)}" text-anchor="${anchor}" font-size="${size}">${escapeXml(content)}</text>`;
}

function n(value: number): string {
  return value.toFixed(1);
}

/** Escapes text for XML, which allows no control characters, escaped or not. */
export function escapeXml(value: string): string {
  return oneLine(value).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
