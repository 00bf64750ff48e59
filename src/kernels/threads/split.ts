/**
 * How a kernel call is cut into shares: a row of a table says what is split and what moves with it,
 * read off the arguments of each call.
 */

/** The arguments of a call by name. */
type Arguments<Name extends string> = Readonly<Record<Name, number>>;
type Reckoned<Name extends string> = (a: Arguments<Name>) => number;

/** A row of the table. */
interface SplitRow<Name extends string> {
  /** The kernel's parameters, in their order. */
  readonly parameters: readonly Name[];
  /** What is split: the parameter that is a count, or the two that begin and end a range. */
  readonly over: NoInfer<Name> | readonly [begin: NoInfer<Name>, end: NoInfer<Name>];
  /** Shares are multiples of this, but for the last. */
  readonly granule: number | Reckoned<NoInfer<Name>>;
  /** By how much other arguments grow for each unit of `over`. */
  readonly moves: Partial<Record<NoInfer<Name>, number | Reckoned<NoInfer<Name>>>>;
  /** The whole call's work in multiply-adds or the like, each about 0.3 ns. */
  readonly work: Reckoned<NoInfer<Name>>;
  /** The parameter of which each thread needs its own: how many bytes, and whether it can be 0. */
  readonly scratch?: {
    readonly parameter: NoInfer<Name>;
    readonly bytes: Reckoned<NoInfer<Name>>;
    readonly optional: boolean;
  };
  /** The call's result from those of its shares; `step` units each. */
  readonly result?: (results: Float64Array, shares: number, step: number) => number;
}

/** A row with names made indices, read off the arguments that `values` was set to. */
export interface Split {
  values: readonly number[];
  readonly parameters: number;
  /** -1 when `end` is a count. */
  readonly begin: number;
  readonly end: number;
  readonly granule: () => number;
  readonly moves: readonly { readonly index: number; readonly stride: () => number }[];
  readonly work: () => number;
  readonly scratch:
    | { readonly index: number; readonly bytes: () => number; readonly optional: boolean }
    | undefined;
  readonly result: SplitRow<string>['result'];
}

/** Compiles a row. */
export function split<const Name extends string>(row: SplitRow<Name>): Split {
  const named = {};
  const index = (name: Name) => row.parameters.indexOf(name);
  const reckon = (value: number | Reckoned<Name>) =>
    typeof value === 'number' ? () => value : () => value(named as Arguments<Name>);
  const [begin, end] = typeof row.over === 'string' ? [undefined, row.over] : row.over;
  const compiled: Split = {
    values: [],
    parameters: row.parameters.length,
    begin: begin === undefined ? -1 : index(begin),
    end: index(end),
    granule: reckon(row.granule),
    moves: [
      ...(begin === undefined ? [] : [{ index: index(begin), stride: () => 1 }]),
      ...(Object.entries(row.moves) as [Name, number | Reckoned<Name>][]).map(([name, move]) => ({
        index: index(name),
        stride: reckon(move),
      })),
    ],
    work: reckon(row.work),
    scratch: row.scratch && {
      index: index(row.scratch.parameter),
      bytes: reckon(row.scratch.bytes),
      optional: row.scratch.optional,
    },
    result: row.result,
  };
  row.parameters.forEach((name, i) => {
    Object.defineProperty(named, name, { get: () => compiled.values[i] ?? 0 });
  });
  return compiled;
}
