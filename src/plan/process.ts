/** What this process uses. */

import { readText } from '../control-groups.ts';
import type { Manifest } from '../flash/manifest.ts';
import { MIB } from '../units.ts';

/** Resident memory now, in bytes. */
export function residentBytes(): number {
  return process.memoryUsage.rss();
}

/** The highest resident memory so far, in bytes: `VmHWM` where there is one. */
export function peakResidentBytes(): number {
  const status = readText('/proc/self/status');
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(status ?? '')?.[1];
  if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  // libuv reports kilobytes on every platform.
  return process.resourceUsage().maxRSS * 1024;
}

/** What has been seen to come on top of the resident memory at the time of planning, and more. */
const growthBytes = 8 * MIB;
/**
 * Node's code and heap with the command line loaded, 61 MiB on Node 20, 58 to 66 on 22, 24 and 26
 * (the small bundled model, at its floor), and what they grow by: more than `growthBytes` beside that, so that the floor
 * is the same each time.
 */
const bareBytes = (Number(process.versions.node.split('.')[0]) < 22 ? 76 : 84) * MIB;
/**
 * A tokenizer in memory, as a multiple of its file, once there is a cache file of it: 11.4 MB of
 * tokenizer.json take 14 MB. Where there is none yet, what is resident after parsing counts instead.
 */
const perTokenizerByte = 1.5;
const perManifestByte = 3;

/**
 * What this process takes besides the memory that is planned. By formula, so that the same model
 * and budget give the same plan every time, unless the process is already larger than that.
 */
export function processEstimate(manifest: Manifest): number {
  const byFormula = bareBytes + modelEstimate(manifest);
  return launcherBytes() + Math.max(byFormula, residentBytes() + growthBytes);
}

/** What a process takes more for another model: its tokenizer and its manifest. */
export function modelEstimate({ files, tensors }: Manifest): number {
  const tokenizerBytes = files['tokenizer.json']?.bytes ?? 0;
  const blocks = [...tensors.values()].reduce((sum, { checksums }) => sum + checksums.length, 0);
  const manifestBytes = blocks * 6; // base64 of 4 bytes, and a little
  return perTokenizerByte * tokenizerBytes + perManifestByte * manifestBytes;
}

/** What a process takes that only waits for this one, as bin/address-space.cjs may start it. */
function launcherBytes(): number {
  if (process.env.FLASHLLM_LAUNCHER !== String(process.ppid)) return 0;
  const status = readText(`/proc/${process.ppid}/status`) ?? '';
  return 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
}
