/** The memory that this process uses. */

import { readText } from '../control-groups.ts';
import type { Manifest } from '../flash/manifest.ts';
import { MIB } from '../units.ts';

/** Resident memory now, in bytes. */
export function residentBytes(): number {
  return process.memoryUsage.rss();
}

/** The peak resident memory so far, in bytes: `VmHWM` where the system has it. */
export function peakResidentBytes(): number {
  const status = readText('/proc/self/status');
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(status ?? '')?.[1];
  if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  // libuv reports kilobytes on every platform.
  return process.resourceUsage().maxRSS * 1024;
}

/** The margin for growth of resident memory after planning: more than the largest growth seen. */
const growthBytes = 8 * MIB;
/**
 * Node's code and heap with the command line loaded, 61 MiB on Node 20, 58 to 66 MiB on 22, 24 and 26 (the
 * small bundled model, at its floor), and their growth: more than `growthBytes` above that, so that the floor
 * is the same each time. With 4 MiB less, one of seven runs that made 1,000 reads per token (a 0.5B in f16,
 * half of it streamed, 96 tokens) peaked 2 MiB above its budget.
 */
const bareBytes = (Number(process.versions.node.split('.')[0]) < 22 ? 80 : 88) * MIB;
/**
 * Memory of a tokenizer, as a multiple of its file, once it has a cache file: a tokenizer.json of 14.3 MB with
 * 262,144 tokens takes 23 MB beyond what `bareBytes` has room for. Without a cache file, the resident memory
 * after parsing counts instead.
 */
const perTokenizerByte = 1.7;
const perManifestByte = 3;

/**
 * Bytes of this process outside the planned memory. A formula, so that the same model and budget give the
 * same plan every time, unless the process is already larger than that.
 */
export function processEstimate(manifest: Manifest): number {
  const byFormula = bareBytes + modelEstimate(manifest);
  return launcherBytes() + Math.max(byFormula, residentBytes() + growthBytes);
}

/** Further bytes of a process for a second model: its tokenizer and its manifest. */
export function modelEstimate({ files, tensors }: Manifest): number {
  const tokenizerBytes = files['tokenizer.json']?.bytes ?? 0;
  const blocks = [...tensors.values()].reduce((sum, { checksums }) => sum + checksums.length, 0);
  const manifestBytes = blocks * 6; // base64 of 4 bytes, and a little
  return Math.ceil(perTokenizerByte * tokenizerBytes + perManifestByte * manifestBytes);
}

/** Bytes of a parent process that only waits for this one, as started by bin/address-space.cjs. */
function launcherBytes(): number {
  if (process.env.FLASHLLM_LAUNCHER !== String(process.ppid)) return 0;
  const status = readText(`/proc/${process.ppid}/status`) ?? '';
  return 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
}
