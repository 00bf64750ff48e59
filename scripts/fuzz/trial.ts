/** A running case: the commands that it runs, and their faults. */

import { FlashError } from '../../src/errors.ts';
import { type CommandName, type CommandResult, runHere, runOutside } from './commands.ts';
import { faultOfError, faultsOfText } from './judge.ts';
import type { Fault } from './result.ts';

export class Trial {
  /** Directory of the case: `subject` and `fixed` are in it. */
  readonly dir: string;
  readonly faults: Fault[] = [];
  /** The first refusal, if there was one. */
  refusal: string | null = null;
  readonly #outside: boolean;
  readonly #onStep: (what: string) => void;

  /**
   * @param outside whether commands run as processes of their own
   * @param onStep called before each command
   */
  constructor(dir: string, outside: boolean, onStep: (what: string) => void) {
    this.dir = dir;
    this.#outside = outside;
    this.#onStep = onStep;
  }

  /** Runs a command; its faults are noted. */
  async run(name: CommandName, ...args: readonly string[]): Promise<CommandResult> {
    this.#onStep(name);
    const result = await (this.#outside ? runOutside : runHere)(name, args);
    if (!result.done) this.refusal ??= result.refusal;
    this.#add(name, result.faults);
    return result;
  }

  /** Runs a part of the library; null if it refused. */
  async attempt<T>(what: string, work: () => Promise<T>): Promise<T | null> {
    this.#onStep(what);
    try {
      return await work();
    } catch (error) {
      const fault = faultOfError(error);
      const stderr = error instanceof FlashError ? `error: ${error.line}\n` : '';
      this.refusal ??= stderr;
      this.#add(what, [
        ...(fault ? [fault] : []),
        ...faultsOfText({ stdout: '', stderr, json: false }),
      ]);
      return null;
    }
  }

  /** Notes a promise that was broken. */
  broken(kind: string, detail: string): void {
    this.faults.push({ kind, detail });
  }

  #add(what: string, faults: readonly Fault[]): void {
    for (const { kind, detail } of faults) this.faults.push({ kind, detail: `${what}: ${detail}` });
  }
}
