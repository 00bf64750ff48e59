/** The notice given where weights are read through the page cache. */

const systems: Readonly<Record<string, string>> = { darwin: 'macOS', win32: 'Windows' };

/**
 * Why reads go through the page cache and what to do about it: a sentence without its full stop. Node opens
 * files past the cache (`O_DIRECT`) on Linux only; macOS's `F_NOCACHE` and Windows's `FILE_FLAG_NO_BUFFERING`
 * cannot be requested through Node.
 */
export function pageCacheHint(
  platform: NodeJS.Platform = process.platform,
  switchedOff = process.env.FLASHLLM_DIRECT_IO === '0',
): string {
  const where = systems[platform];
  if (where !== undefined) {
    return (
      `Reads go through the page cache, as Node.js has no direct I/O on ${where}: it takes memory ` +
      'beside the budget, and the system frees it when programs need memory'
    );
  }
  if (switchedOff) return 'Reads go through the page cache, as FLASHLLM_DIRECT_IO=0 asks for';
  return (
    'Reads go through the page cache there, which takes memory beside the budget: keep models on a ' +
    'local disk with ext4, xfs or btrfs'
  );
}
