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
/** A process that was stopped meanwhile, or got no processor, has not used its time. */
const leastBusyShare = 0.25;
/** Each with twice the time of the one before. */
const attempts = 5;

const slot = Symbol.for('flashllm.timeLimited');
type Slot = { [slot]?: (() => void) | undefined };
const script = new Script("globalThis[Symbol.for('flashllm.timeLimited')]()");

/** Work that was broken off. */
export class TimeLimitError extends InputError {
  /** Whether it did not even get the processor, so that it may be tried once more. */
  readonly starved: boolean;

  constructor(starved: boolean, limitMs: number, { units, file, subject }: TimeLimit) {
    const { what, hint } = subject ?? expressions;
    const time = `${Math.round(limitMs / 1000)} s over ${units} characters`;
    super(
      `${what} broken off after ${time}`,
      { file },
      starved
        ? 'The process hardly got the processor: try again when the machine is less busy'
        : hint,
    );
    this.starved = starved;
  }
}

export interface TimeLimit {
  /** Of text that is gone through, in UTF-16. */
  readonly units: number;
  /** Whose content decides how long it takes. */
  readonly file: string;
  /** The caller tries again where the processor was missing, when the event loop has turned. */
  readonly once?: boolean;
  /** What is limited, as a message begins, and what to do about it; regular expressions by default. */
  readonly subject?: { readonly what: string; readonly hint: string };
}

const expressions = {
  what: 'its regular expressions were',
  hint: 'One of them backtracks without end: use the tokenizer.json of the published model',
};

/**
 * The result of `work`. It is done once more if it was broken off without having had the processor,
 * so it must leave nothing half done behind.
 * @throws TimeLimitError when it does not end
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
