import { setFlagsFromString } from 'node:v8';

/**
 * Keeps the young generation of this process's heap at its present size. The launcher does so at its start
 * (bin/flashllm.cjs), but V8 of Node 20 and 22 resets the flag for the whole process whenever it creates a
 * worker's heap: the young generation then grows to 32 MiB, which no plan counts.
 */
export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
