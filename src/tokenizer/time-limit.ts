/**
 * A time limit for work whose length a file decides. A tokenizer.json brings regular expressions
 * along, and one that backtracks without end would hold the only thread that can answer Ctrl-C and
 * SIGTERM. V8 can break off a script, regular expressions included, and what is called from within
 * it is part of it. That costs a tenth of a millisecond.
 */

import { Script } from 'node:vm';
import { InputError } from '../errors.ts';

/** Whatever the text: the first use of an expression compiles it. */
const baseMs = 2000;
/** A hundred times slower than a tokenizer is on the machines that we know. */
const unitsPerMs = 32;
/** A process that was stopped meanwhile, or got no processor, has not used its time: once more. */
const leastBusyShare = 0.2;
const attempts = 2;

const slot = Symbol.for('flashllm.timeLimited');
type Slot = { [slot]?: (() => void) | undefined };
const script = new Script("globalThis[Symbol.for('flashllm.timeLimited')]()");

/** Work that was broken off. */
export class TimeLimitError extends InputError {}

/**
 * The result of `work`, which is done once more if it was broken off without having had the
 * processor: it must leave nothing half done behind.
 * @param units of text that it goes through, in UTF-16
 * @param file whose content decides how long it takes
 * @throws TimeLimitError when it does not end
 */
export function withinTime<T>(work: () => T, units: number, file: string): T {
  const limitMs = baseMs + Math.ceil(units / unitsPerMs);
  for (let number = 1; ; number++) {
    const before = process.cpuUsage();
    const done = attempt(work, limitMs);
    if (done !== null) return done.value;
    const { user, system } = process.cpuUsage(before);
    const busyMs = (user + system) / 1000;
    if (number < attempts && busyMs < leastBusyShare * limitMs) continue;
    throw new TimeLimitError(
      `its regular expressions were broken off after ${Math.round(limitMs / 1000)} s over ${units} characters`,
      { file },
      'One of them backtracks without end: use the tokenizer.json of the published model',
    );
  }
}

/** What `work` returns, or null when it did not end within `limitMs`. */
function attempt<T>(work: () => T, limitMs: number): { readonly value: T } | null {
  const global = globalThis as Slot;
  const outer = global[slot];
  const done: { value: T }[] = [];
  global[slot] = () => {
    done.push({ value: work() });
  };
  try {
    script.runInThisContext({ timeout: limitMs, displayErrors: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
  } finally {
    global[slot] = outer;
  }
  return done[0] ?? null;
}
