/** A disk in memory below the scheduler, which misbehaves as its seed says. */

import type { ReadSystem } from '../../src/flash/read-system.ts';
import { Dice } from './random.ts';

export interface Faults {
  /** Probability that a read returns less than was asked for. */
  readonly short?: number;
  /** Probability that a read fails once with EINTR or EAGAIN. */
  readonly interrupted?: number;
  /** Probability that a read fails once with EIO. */
  readonly failing?: number;
  /** Reads of this byte fail always. */
  readonly badByte?: number;
  /** The file is this long from the first read on, whatever it was when opened. */
  readonly truncatedTo?: number;
  /** Longest delay of a read, in turns of the event loop; reads overtake each other. */
  readonly delay?: number;
}

export interface FakeDiskOptions {
  readonly seed?: number;
  readonly faults?: Faults;
  /** Whether direct I/O is granted. */
  readonly direct?: boolean;
  /** What direct reads must be multiples of. */
  readonly alignment?: number;
}

export class FakeDisk implements ReadSystem {
  readonly content: Uint8Array;
  /** Every read that was asked for. */
  readonly reads: { position: number; bytes: number; parts: number }[] = [];
  mostInFlight = 0;
  opened = 0;
  readonly #options: FakeDiskOptions;
  readonly #dice: Dice;
  #inFlight = 0;
  #direct = false;

  constructor(bytes: number, options: FakeDiskOptions = {}) {
    this.#options = options;
    this.#dice = new Dice(options.seed ?? 1);
    this.content = new Uint8Array(bytes);
    for (let i = 0; i < bytes; i++) this.content[i] = i * 31 + (i >> 8) * 17;
  }

  open(_path: string, direct: boolean): number {
    if (direct && this.#options.direct !== true) throw new Error('EINVAL: refused');
    this.#direct = direct;
    this.opened++;
    return 7;
  }

  close(): void {
    this.opened--;
  }

  size(): number {
    return this.content.length;
  }

  readv(
    _fd: number,
    targets: readonly Uint8Array[],
    position: number,
    done: (error: NodeJS.ErrnoException | null, bytes: number) => void,
  ): void {
    const bytes = targets.reduce((sum, target) => sum + target.length, 0);
    this.reads.push({ position, bytes, parts: targets.length });
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
    const finish = () => {
      this.#inFlight--;
      const result = this.#result(targets, position, bytes);
      if (typeof result === 'string') done(systemError(result), 0);
      else done(null, result);
    };
    this.#after(this.#dice.between(0, this.#options.faults?.delay ?? 0), finish);
  }

  #after(turns: number, then: () => void): void {
    setImmediate(() => (turns === 0 ? then() : this.#after(turns - 1, then)));
  }

  /** Bytes delivered, or the code of an error. */
  #result(targets: readonly Uint8Array[], position: number, bytes: number): number | string {
    const { faults = {}, alignment = 512 } = this.#options;
    if (this.#direct) {
      const values = [position, ...targets.flatMap((t) => [t.length, t.byteOffset])];
      if (values.some((value) => value % alignment !== 0)) return 'EINVAL';
    }
    const { badByte = -1 } = faults;
    if (badByte >= position && badByte < position + bytes) return 'EIO';
    if (this.#dice.chance(faults.interrupted ?? 0)) return this.#dice.pick(['EINTR', 'EAGAIN']);
    if (this.#dice.chance(faults.failing ?? 0)) return 'EIO';
    const size = faults.truncatedTo ?? this.content.length;
    let available = Math.max(0, Math.min(bytes, size - position));
    if (this.#dice.chance(faults.short ?? 0)) available = this.#dice.between(1, available);
    let at = position;
    let left = available;
    for (const target of targets) {
      const part = Math.min(left, target.length);
      target.set(this.content.subarray(at, at + part));
      at += part;
      left -= part;
    }
    return available;
  }
}

/** An error of the system. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: injected`), { code });
}
