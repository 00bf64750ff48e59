/** One case from its number: which input it takes, what it changes in it, and what it does with it. */

import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Dice } from '../../test/support/random.ts';
import { deviceMark, type Route, routes } from './corpus.ts';
import { type Files, readFiles, writeFiles } from './files.ts';
import { peakBytes, resetPeak } from './memory.ts';
import { mutateFiles } from './mutate/index.ts';
import { isOutside } from './pool.ts';
import { type CaseAbout, type CaseResult, mostGrowthBytes } from './result.ts';
import { routeTable } from './routes.ts';
import { Trial } from './trial.ts';

/** The inputs on disk, each read once. */
export class Corpus {
  readonly #dir: string;
  readonly #read = new Map<string, ReadonlyMap<string, Buffer>>();
  readonly #names = new Map<Route, readonly string[]>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  inputsOf(route: Route): readonly string[] {
    const known = this.#names.get(route);
    if (known !== undefined) return known;
    const names = readdirSync(join(this.#dir, route)).sort();
    this.#names.set(route, names);
    return names;
  }

  files(route: Route, input: string, part: 'subject' | 'fixed'): ReadonlyMap<string, Buffer> {
    const dir = join(this.#dir, route, input, part);
    let files = this.#read.get(dir);
    if (files === undefined) {
      files = statSync(dir, { throwIfNoEntry: false }) === undefined ? new Map() : readFiles(dir);
      this.#read.set(dir, files);
    }
    return files;
  }

  /** Files named `name` in any input of the route. */
  donors(route: Route, name: string): readonly Buffer[] {
    return this.inputsOf(route).flatMap(
      (input) => this.files(route, input, 'subject').get(name) ?? [],
    );
  }
}

export interface CaseOptions {
  readonly seed: number;
  /** A directory for the case, which does not exist yet. */
  readonly dir: string;
  readonly routes: readonly Route[];
  /** Every n-th case runs its commands as processes of their own; 0: none. */
  readonly outsideEvery: number;
  readonly onBegin: (about: CaseAbout) => void;
  readonly onStep: (what: string) => void;
}

/** Describes a case without running it. */
function prepare(corpus: Corpus, number: number, { seed, routes: wanted }: CaseOptions) {
  const dice = new Dice(seed * 2 ** 32 + number);
  const route = chooseRoute(wanted, dice);
  const input = dice.pick(corpus.inputsOf(route));
  const files: Files = new Map(corpus.files(route, input, 'subject'));
  const changes = mutateFiles(files, dice, (name) => corpus.donors(route, name));
  return { dice, route, input, files, changes };
}

function chooseRoute(wanted: readonly Route[], dice: Dice): Route {
  const among = wanted.length === 0 ? routes : wanted;
  const shares = among.map((route) => routeTable[route].share);
  let left = dice.next() * shares.reduce((sum, share) => sum + share, 0);
  for (const [index, route] of among.entries()) {
    left -= shares[index] ?? 0;
    if (left < 0) return route;
  }
  return among[0] ?? 'checkpoint';
}

/** Runs the case `number`. */
export async function runCase(
  corpus: Corpus,
  number: number,
  options: CaseOptions,
): Promise<CaseResult> {
  const { dice, route, input, files, changes } = prepare(corpus, number, options);
  const about = { number, route, input, changes };
  options.onBegin(about);
  const { dir } = options;
  const { place, walk } = routeTable[route];
  writeFiles(dir, new Map());
  writeFiles(join(dir, 'fixed'), corpus.files(route, input, 'fixed'));
  writeFiles(join(dir, place), withDevice(files, dir));
  const outside = isOutside(number, options.outsideEvery);
  const trial = new Trial(dir, outside, options.onStep);
  const before = resetPeak();
  const started = performance.now();
  await walk(trial, dice);
  const ms = performance.now() - started;
  const growthBytes = peakBytes() - before;
  if (growthBytes > mostGrowthBytes) {
    const mebibytes = Math.round(growthBytes / 2 ** 20);
    trial.broken(`memory of ${route}`, `${mebibytes} MiB more than before`);
  }
  const accepted = trial.refusal === null;
  const refusal = general(trial.refusal ?? '', dir);
  return { ...about, accepted, refusal, faults: trial.faults, ms, growthBytes };
}

/** Profiles are found by the device on which the case's files are. */
function withDevice(files: Files, dir: string): Files {
  const key = `${process.platform}-${statSync(dir).dev}`;
  const named = (content: Buffer) =>
    Buffer.from(content.toString('latin1').replaceAll(deviceMark, key), 'latin1');
  return new Map(
    [...files].map(([name, content]) => [
      name,
      Buffer.isBuffer(content) && name === 'devices.json' ? named(content) : content,
    ]),
  );
}

/** A message without paths and numbers, so that messages of one kind are equal. */
function general(message: string, dir: string): string {
  return message
    .replaceAll(dir, '')
    .replace(/\d+(\.\d+)?/g, 'N')
    .slice(0, 160);
}

/** Removes the files that a case left. */
export function sweepCase(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}
