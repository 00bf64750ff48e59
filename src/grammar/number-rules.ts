/** Rules for whole numbers within bounds, over their decimal digits. */

/** The whole numbers from `least` to `most`, both safe integers, as JSON writes them. */
export function integerRule(least: number, most: number): string {
  const parts: string[] = [];
  if (least < 0) {
    const [near, far] = [Math.max(1, -most), -least];
    parts.push(`"-" ${naturalRule(`${near}`, `${far}`)}`);
  }
  if (most >= 0) parts.push(naturalRule(`${Math.max(0, least)}`, `${most}`));
  return either(parts);
}

/** Natural numbers from `least` to `most`, both given as digits. */
function naturalRule(least: string, most: string): string {
  const parts: string[] = [];
  for (let length = least.length; length <= most.length; length++) {
    const from = length === least.length ? least : `1${'0'.repeat(length - 1)}`;
    const to = length === most.length ? most : '9'.repeat(length);
    parts.push(between(from, to));
  }
  return either(parts);
}

/** Numbers between two numbers with the same count of digits. */
function between(least: string, most: string): string {
  if (/^0*$/.test(least) && /^9*$/.test(most)) return digits(least.length);
  const [low = '', high = ''] = [least[0], most[0]];
  const [lowRest, highRest] = [least.slice(1), most.slice(1)];
  if (low === high) return `"${low}" ${between(lowRest, highRest)}`;
  // First digits that any digits may follow are combined into one class.
  const [lowFree, highFree] = [/^0*$/.test(lowRest), /^9*$/.test(highRest)];
  const [first, last] = [Number(low) + (lowFree ? 0 : 1), Number(high) - (highFree ? 0 : 1)];
  const parts: string[] = [];
  if (!lowFree) parts.push(`"${low}" ${between(lowRest, '9'.repeat(lowRest.length))}`);
  if (first <= last) parts.push(`[${first}-${last}] ${digits(lowRest.length)}`);
  if (!highFree) parts.push(`"${high}" ${between('0'.repeat(highRest.length), highRest)}`);
  return either(parts);
}

function digits(count: number): string {
  return count === 0 ? '""' : `[0-9]{${count}}`;
}

function either(parts: readonly string[]): string {
  return `(${parts.join(' | ')})`;
}
