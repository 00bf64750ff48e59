/** A chart of hit rates over the size of the store, with a line for each policy. */

interface PolicyRow {
  readonly name: string;
  /** By size. */
  readonly hits: readonly number[];
}

const [width, height, margin] = [680, 400, 56];
const colours = ['#c0392b', '#d68910', '#2471a3', '#1e8449', '#7d3c98', '#222222'];
/** Prefixes of the names of the policies that are drawn. */
const drawn = [
  'window of 5',
  'least recently',
  'least often',
  'frequency and age, half-life 32',
  "router's shares, half-life 32",
  'a store that knows',
];

/** @param sizes shares of all experts, ascending */
export function policyChart(sizes: readonly number[], rows: readonly PolicyRow[]): string {
  const largest = sizes.at(-1) ?? 1;
  const x = (size: number) => margin + (size / largest) * (width - 2 * margin);
  const y = (hit: number) => height - margin - hit * (height - 2 * margin);
  const n = (value: number) => value.toFixed(1);
  const shown = drawn.flatMap((name) => rows.find((row) => row.name.startsWith(name)) ?? []);
  const lines = shown.map(({ name, hits }, i) => {
    const points = hits.map((hit, j) => `${n(x(sizes[j] ?? 0))},${n(y(hit))}`).join(' ');
    const colour = colours[i];
    return (
      `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points}"/>` +
      `<text x="${width - 300}" y="${height - margin - 20 - 18 * (shown.length - i - 1)}" fill="${colour}">${name}</text>`
    );
  });
  const ticks = sizes.map(
    (size) =>
      `<text x="${n(x(size))}" y="${height - margin + 20}" text-anchor="middle">${Math.round(100 * size)}%</text>`,
  );
  const levels = [0, 0.25, 0.5, 0.75, 1].map(
    (hit) =>
      `<text x="${margin - 8}" y="${n(y(hit) + 4)}" text-anchor="end">${100 * hit}%</text>` +
      `<line x1="${margin}" x2="${width - margin}" y1="${n(y(hit))}" y2="${n(y(hit))}" stroke="#ddd"/>`,
  );
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="13">` +
    '<title>Wanted experts that a store holds, by its size and policy</title>' +
    `<rect width="${width}" height="${height}" fill="white"/>${levels.join('')}${lines.join('')}${ticks.join('')}` +
    `<text x="${width / 2}" y="${height - 12}" text-anchor="middle">experts in the store, share of all</text>` +
    `<text x="14" y="20">wanted experts that the store holds</text></svg>\n`
  );
}
