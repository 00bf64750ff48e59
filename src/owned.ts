/**
 * Files and directories that a process makes for itself, beside the files it works on, and removes again:
 * `model.partial-4711-8812345-1f0c9a3b77de-5d41402abc4b2a76`. The name identifies the owner, so that a
 * later process can tell entries that a killed process left from those that a living process uses:
 *
 *     <base>.<kind>-<pid>-<when the process started>-<machine and boot>-<16 random digits>
 *
 * Node has no file locks. A process that asks for one makes an entry of its own, looks for others of
 * living processes, and withdraws if there are any: whichever of two comes second sees the entry of the
 * first. No process ever removes a name that another process may be about to take.
 */

import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, rmSync, statSync, utimesSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { hostname, uptime } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InputError } from './errors.ts';
import { removeEntry } from './moving-files.ts';

/** What an entry is for. */
export type OwnedKind = 'partial' | 'replaced' | 'running' | 'unbundled' | 'probe';

/** An entry, as its name describes it. */
export interface Owned {
  readonly path: string;
  readonly kind: OwnedKind;
  readonly pid: number;
  /** Whether its process still runs. */
  readonly alive: boolean;
  /** Whether that is this process. */
  readonly own: boolean;
}

/**
 * For processes on other machines, which cannot be asked: one that has not touched its entry for this long
 * is taken for dead.
 */
const silentMs = 10 * 60_000;
/** How often a claim is touched. */
const touchMs = 60_000;

/** A new, unguessable name beside `base`. */
export function ownedName(base: string, kind: OwnedKind): string {
  const { start, machine, boot } = self();
  const nonce = randomBytes(8).toString('hex');
  return `${base}.${kind}-${process.pid}-${start}-${machine}${boot}-${nonce}`;
}

/** Names of earlier versions end after the process number. */
const pattern = /^\.([a-z]+)-(\d{1,10})(?:-(\d+)-([0-9a-f]{6})([0-9a-f]{6})-[0-9a-f]{16})?$/;

/** Whether flashllm made a name of this form, for whatever `base`. */
export function isOwnedName(name: string): boolean {
  return anywhere.test(name);
}

const anywhere =
  /\.(partial|replaced|running|unbundled|probe)-\d{1,10}(-\d+-[0-9a-f]{12}-[0-9a-f]{16})?$/;

/** All entries of these kinds that belong to `base`; none where the directory cannot be read. */
export async function ownedBeside(
  base: string,
  kinds: readonly OwnedKind[],
  processes = systemProcesses,
): Promise<Owned[]> {
  const dir = dirname(base);
  const prefix = basename(base);
  const names: string[] = await readdir(dir).catch(() => []);
  return names.flatMap((name) => {
    if (!name.startsWith(`${prefix}.`)) return [];
    const [, kindName, pid = '', start, machine, boot] =
      pattern.exec(name.slice(prefix.length)) ?? [];
    const kind = kinds.find((known) => known === kindName);
    if (kind === undefined) return [];
    const path = join(dir, name);
    const owner = { pid: Number(pid), start, machine, boot };
    return {
      path,
      kind,
      pid: owner.pid,
      alive: isAlive(path, owner, processes),
      own: isSelf(owner),
    };
  });
}

/** Removes the entries of these kinds that dead processes left, and nothing else. */
export async function sweepBeside(base: string, kinds: readonly OwnedKind[]): Promise<void> {
  for (const { path, alive } of await ownedBeside(base, kinds)) {
    if (!alive) await removeEntry(path).catch(() => {});
  }
}

/** How often two processes that collide retry, each after a different delay. */
const attempts = 4;
const longestPauseMs = 150;

/**
 * Makes an entry beside `base` that keeps other processes away.
 * @param make creates it, empty, at the path it is given; fails if that path exists
 * @param busy what to throw if the process with that number holds one of the `kinds`
 * @returns its path
 */
export async function claim(
  base: string,
  kinds: readonly [OwnedKind, ...OwnedKind[]],
  make: (path: string) => Promise<void>,
  busy: (pid: number) => InputError,
): Promise<string> {
  await sweepBeside(base, kinds);
  for (let attempt = 1; ; attempt++) {
    const path = ownedName(base, kinds[0]);
    await make(path);
    const other = (await ownedBeside(base, kinds)).find(
      (entry) => entry.alive && entry.path !== path,
    );
    if (other === undefined) return path;
    await removeEntry(path);
    if (attempt === attempts) throw busy(other.pid);
    await sleep(Math.random() * longestPauseMs);
  }
}

/** Holds a claim's file until the returned function is called or the process ends. */
export function keepClaim(path: string): () => void {
  const remove = () => rmSync(path, { force: true });
  const touch = setInterval(() => {
    const now = new Date();
    try {
      utimesSync(path, now, now);
    } catch {
      // The file is gone with its directory: there is nothing left to hold.
    }
  }, touchMs);
  touch.unref();
  process.on('exit', remove);
  return () => {
    clearInterval(touch);
    process.off('exit', remove);
    remove();
  };
}

/** Other processes that hold an entry. */
export async function othersBeside(base: string, kinds: readonly OwnedKind[]): Promise<Owned[]> {
  const all = await ownedBeside(base, kinds);
  return all.filter(({ alive, own }) => alive && !own);
}

/** What a name says about its process; names of earlier versions give only the process number. */
interface Owner {
  readonly pid: number;
  readonly start: string | undefined;
  readonly machine: string | undefined;
  readonly boot: string | undefined;
}

function isSelf({ pid, start, machine, boot }: Owner): boolean {
  const own = self();
  const same = start === own.start && machine === own.machine && boot === own.boot;
  return pid === process.pid && same;
}

/** Queries of the system about processes; tests replace them. */
export interface Processes {
  /** When a process started, in the system's own units; null where the system does not report it. */
  startOf(pid: number): string | null;
  /** Whether there is a process of this number. */
  answers(pid: number): boolean;
  /** When the machine was started, or a little later, in milliseconds since 1970. */
  bootedMs(): number;
}

const systemProcesses: Processes = {
  startOf: (pid) => startOf(`${pid}`),
  answers,
  bootedMs: () => Date.now() - uptime() * 1000,
};

/** Tolerance: clocks get adjusted, and some file systems store time stamps in steps of two seconds. */
const clockSlackMs = 10_000;

function isAlive(path: string, owner: Owner, { startOf, answers, bootedMs }: Processes): boolean {
  const { pid, start, machine, boot } = owner;
  const own = self();
  if (start === undefined) return pid !== process.pid && answers(pid);
  if (machine !== own.machine) return Date.now() - lastTouched(path) < silentMs;
  if (boot !== own.boot) return false;
  const now = startOf(pid);
  // The system reuses process numbers; a process with the same number and start time is the same one. Where
  // the system does not report start times (macOS, Windows, or other users' processes), any process of that
  // number counts, unless the machine was restarted after the entry was last touched.
  if (now !== null) return now === start;
  return answers(pid) && (pid === process.pid || lastTouched(path) > bootedMs() - clockSlackMs);
}

/** Whether there is a process of this number. */
function answers(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When the entry, or something in it, was last changed, in milliseconds since 1970. */
function lastTouched(path: string): number {
  const time = (entry: string) => {
    try {
      return statSync(entry).mtimeMs;
    } catch {
      return 0;
    }
  };
  let names: string[] = [];
  try {
    names = readdirSync(path);
  } catch {
    // It is a file.
  }
  return Math.max(time(path), ...names.map((name) => time(join(path, name))));
}

/** Stands for the start time where the system does not report it. */
const unknownStart = '0';

interface Identity {
  readonly start: string;
  /** Six digits that identify the machine and the process namespace. */
  readonly machine: string;
  /** Six digits that identify the current boot. */
  readonly boot: string;
}

let identity: Identity | undefined;

function self(): Identity {
  if (identity !== undefined) return identity;
  const digits = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 6);
  const read = (how: () => string) => {
    try {
      return how();
    } catch {
      return '';
    }
  };
  // Each container numbers its processes from 1.
  const space = read(() => readlinkSync('/proc/self/ns/pid'));
  const boot = read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'));
  identity = {
    start: startOf('self') ?? unknownStart,
    machine: digits(`${hostname()} ${space}`),
    boot: digits(boot),
  };
  return identity;
}

const ended = 'ended';

/**
 * When a process started, in clock ticks since boot, or `ended`; null where the system does not report it.
 */
function startOf(pid: string): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command's name, in parentheses, may contain any character.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? ended : (fields[18] ?? null);
  } catch {
    return null;
  }
}
