/** The statistics beside the conversation. */

import { get } from './api.ts';
import { element } from './elements.ts';

/** The fields of the answer to `GET /stats` that the page shows. */
interface Stats {
  readonly tokensPerSecond: number | null;
  readonly cacheHitRate: number | null;
  readonly flashBytesPerToken: number | null;
  readonly residentMemory: number;
  readonly dramBudget: number;
  readonly active: number;
  readonly queued: number;
}

const speed = element('speed', HTMLElement);
const hits = element('hits', HTMLElement);
const bytes = element('bytes', HTMLElement);
const memory = element('memory', HTMLElement);
const share = element('share', HTMLMeterElement);
const requests = element('requests', HTMLElement);

/** Fetches the statistics and shows them. @throws RequestFailed, or what `fetch` throws */
export async function showStatistics(key: string): Promise<void> {
  const stats = (await get('stats', key)) as Stats;
  const { tokensPerSecond, cacheHitRate, flashBytesPerToken, residentMemory, dramBudget } = stats;
  if (tokensPerSecond !== null) speed.textContent = `${tokensPerSecond.toFixed(1)} tokens/s`;
  hits.textContent = cacheHitRate === null ? 'no weights used yet' : percent(cacheHitRate);
  if (flashBytesPerToken !== null) bytes.textContent = `${sizeOf(flashBytesPerToken)} per token`;
  memory.textContent = `${sizeOf(residentMemory)} of ${sizeOf(dramBudget)}`;
  share.value = Math.min(1, residentMemory / dramBudget);
  requests.textContent = `${stats.active} active, ${stats.queued} waiting`;
}

function percent(rate: number): string {
  return `${(100 * rate).toFixed(1)}%`;
}

function sizeOf(count: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let size = count;
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${size.toFixed(unit === 0 || size >= 100 ? 0 : 1)} ${units[unit]}`;
}
