/**
 * A time limit for work whose duration depends on a file. A tokenizer.json contains regular expressions,
 * and one that backtracks without end would block the only thread that can handle Ctrl-C and SIGTERM. V8
 * can stop a script, including its regular expressions and the functions that it calls. That costs a tenth
 * of a millisecond.
 */

import { Script } from 'node:vm';
import { InputError } from '../errors.ts';

/** The minimum for any text: the first use of an expression compiles it. */
const baseMs = 2000;
/** A hundred times slower than a tokenizer on the machines that were measured. */
const unitsPerMs = 32;
/** A process that was suspended meanwhile, or did not get the processor, has not used its time. */
const leastBusyShare = 0.25;
/** Each attempt has twice the time of the previous one. */
const attempts = 5;

const slot = Symbol.for('flashllm.timeLimited');
type Slot = { [slot]?: (() => void) | undefined };
const script = new Script("globalThis[Symbol.for('flashllm.timeLimited')]()");

/** The error for work that was stopped at the limit. */
export class TimeLimitError extends InputError {
  /** Whether it hardly got the processor, so that it may be tried again. */
  readonly starved: boolean;

  constructor(starved: boolean, limitMs: number, { units, file, subject }: TimeLimit) {
    const { what, hint } = subject ?? expressions;
    const time = `${Math.round(limitMs / 1000)} s over ${units} characters`;
    super(
      `${what} stopped after ${time}`,
      { file },
      starved
        ? 'The process hardly got the processor: try again when the machine is less busy'
        : hint,
    );
    this.starved = starved;
  }
}

export interface TimeLimit {
  /** Length of the text, in UTF-16 units. */
  readonly units: number;
  /** The file whose content determines the duration. */
  readonly file: string;
  /**
   * Whether the caller tries again, after the event loop has run, if the process did not get the processor.
   */
  readonly once?: boolean;
  /** The limited work, as the beginning of a message, and the hint; regular expressions by default. */
  readonly subject?: { readonly what: string; readonly hint: string };
}

const expressions = {
  what: 'its regular expressions were',
  hint: 'One of them backtracks without end: use the tokenizer.json of the published model',
};

/**
 * The result of `work`. `work` is run again if it was stopped without having had the processor, so it must
 * leave no partial results behind.
 * @throws TimeLimitError when it does not end in time
 */
export function withinTime<T>(work: () => T, limit: TimeLimit): T {
  const { units, once = false } = limit;
  let limitMs = baseMs + Math.ceil(units / unitsPerMs);
  for (let left = once ? 1 : attempts; ; limitMs *= 2) {
    const before = process.cpuUsage();
    const done = attempt(work, limitMs);
    if (done !== null) return done.value;
    const { user, system } = process.cpuUsage(before);
    const starved = (user + system) / 1000 < leastBusyShare * limitMs;
    if (!starved || --left === 0) throw new TimeLimitError(starved, limitMs, limit);
  }
}

/** The result of `work`, or null if it did not end within `limitMs`. */
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
