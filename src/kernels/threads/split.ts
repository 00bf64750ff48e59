/**
 * How a kernel call is cut into shares: a row of a table says which argument is split and which arguments
 * advance with it. Rows refer to the arguments of each call by the names in the kernel's signature.
 */

import { type ParameterName, parametersOf, type Signature } from '../signature.ts';
import { layout } from './drain.ts';

/** The arguments of a call by name. */
type Arguments<Name extends string> = Readonly<Record<Name, number>>;
type Reckoned<Name extends string> = (a: Arguments<Name>) => number;

/** A row of the table, for a kernel with parameters of these names. */
export interface SplitRow<Name extends string> {
  /** The split parameter: a count, or the two that begin and end a range. */
  readonly over: Name | readonly [begin: Name, end: Name];
  /** Shares are multiples of this, except the last. */
  readonly granule: number | Reckoned<Name>;
  /** The most shares for each thread, where each share has a fixed cost. */
  readonly sharesPerThread?: Reckoned<Name>;
  /** By how much other arguments grow for each unit of `over`. */
  readonly moves: Partial<Record<Name, number | Reckoned<Name>>>;
  /** The whole call's work in multiply-adds or the like, each about 0.3 ns. */
  readonly work: Reckoned<Name>;
  /** The scratch parameter, separate for each thread: its bytes, and whether it can be 0. */
  readonly scratch?: {
    readonly parameter: Name;
    readonly bytes: Reckoned<Name>;
    readonly optional: boolean;
  };
  /** Computes the call's result from those of its shares, of `step` units each. */
  readonly result?: (results: Float64Array, shares: number, step: number) => number;
}

/** A row with indices instead of names; it reads the arguments from `values`. */
export interface Split {
  values: readonly number[];
  readonly parameters: number;
  /** -1 when `end` is a count. */
  readonly begin: number;
  readonly end: number;
  readonly granule: () => number;
  readonly sharesPerThread: () => number;
  readonly moves: readonly { readonly index: number; readonly stride: () => number }[];
  readonly work: () => number;
  readonly scratch:
    | { readonly index: number; readonly bytes: () => number; readonly optional: boolean }
    | undefined;
  readonly result: SplitRow<string>['result'];
}

/** How one kernel is split, or null: it runs on the calling thread alone. */
export type SplitOf<Row extends Signature> = SplitRow<ParameterName<Row>> | null;

/** Compiles a row for the kernel of this signature. */
export function split(signature: Signature, row: SplitRow<string>): Split {
  const named = {};
  const names = parametersOf(signature).map(({ name }) => name);
  if (names.length > layout.parameters) {
    throw new Error(`a kernel has ${names.length} parameters (at most ${layout.parameters})`);
  }
  const index = (name: string) => names.indexOf(name);
  const reckon = (value: number | Reckoned<string>) =>
    typeof value === 'number' ? () => value : () => value(named);
  const [begin, end] = typeof row.over === 'string' ? [undefined, row.over] : row.over;
  const compiled: Split = {
    values: [],
    parameters: names.length,
    begin: begin === undefined ? -1 : index(begin),
    end: index(end),
    granule: reckon(row.granule),
    sharesPerThread: reckon(row.sharesPerThread ?? Number.POSITIVE_INFINITY),
    moves: [
      ...(begin === undefined ? [] : [{ index: index(begin), stride: () => 1 }]),
      ...(Object.entries(row.moves) as [string, number | Reckoned<string>][]).map(
        ([name, move]) => ({
          index: index(name),
          stride: reckon(move),
        }),
      ),
    ],
    work: reckon(row.work),
    scratch: row.scratch && {
      index: index(row.scratch.parameter),
      bytes: reckon(row.scratch.bytes),
      optional: row.scratch.optional,
    },
    result: row.result,
  };
  names.forEach((name, i) => {
    Object.defineProperty(named, name, { get: () => compiled.values[i] ?? 0 });
  });
  return compiled;
}
