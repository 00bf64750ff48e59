/** The notation of signatures in the kernel tables, and the TypeScript types derived from it. */

import type { ActivationCode } from './constants.ts';

/** A byte offset in the WebAssembly memory. 0 stands for "none" where a bias may be left out. */
export type Address = number;

/** The words for types of parameters, each with its type in AssemblyScript. */
const assemblyTypes = {
  /** A byte offset in the memory. */
  address: 'usize',
  /** A stride in elements, or a number of bytes. */
  size: 'usize',
  i32: 'i32',
  f32: 'f32',
  /** One of `activationCodes`. */
  activation: 'i32',
  /** 0 or 1. */
  flag: 'i32',
} as const;

type Word = keyof typeof assemblyTypes;

/** The TypeScript types of the words. */
interface TypeOfWord {
  readonly address: Address;
  readonly size: number;
  readonly i32: number;
  readonly f32: number;
  readonly activation: ActivationCode;
  readonly flag: 0 | 1;
}

/** `name: type`; with `name?: type`, a call may omit it and what follows, which means 0. */
export type ParameterText = `${string}: ${Word}`;

/** A signature in a row of a table. */
export interface Signature {
  readonly parameters: readonly ParameterText[];
  /** The type of the result, where there is one. */
  readonly result?: 'i32';
}

type ArgumentsOf<Parameters extends readonly string[]> = Parameters extends readonly [
  infer First,
  ...infer Rest extends readonly string[],
]
  ? First extends `${string}?: ${infer Type extends Word}`
    ? [(TypeOfWord[Type] | undefined)?, ...ArgumentsOf<Rest>]
    : First extends `${string}: ${infer Type extends Word}`
      ? [TypeOfWord[Type], ...ArgumentsOf<Rest>]
      : never
  : [];

/** The function that a signature describes. */
export type KernelOf<Row extends Signature> = (
  ...values: ArgumentsOf<Row['parameters']>
) => Row extends { readonly result: 'i32' } ? number : void;

type NameIn<Text extends string> = Text extends `${infer Name}?: ${string}`
  ? Name
  : Text extends `${infer Name}: ${string}`
    ? Name
    : never;

/** The names of a signature's parameters. */
export type ParameterName<Row extends Signature> = NameIn<Row['parameters'][number]>;

/** A parameter in the core. */
export interface AssemblyParameter {
  readonly name: string;
  readonly type: (typeof assemblyTypes)[Word];
}

/** The parameters of a signature, in their order. */
export function parametersOf({ parameters }: Signature): readonly AssemblyParameter[] {
  return parameters.map((text) => {
    const [name = '', word = ''] = text.split(/\??: /);
    return { name, type: assemblyTypes[word as Word] };
  });
}

/** The type that a parameter's text names. */
type TypeIn<Text extends string> = Text extends `${string}: ${infer Type extends Word}`
  ? TypeOfWord[Type]
  : never;

/** The arguments of a call by the names of the signature's parameters; none may be omitted. */
export type NamedArguments<Row extends Signature> = {
  readonly [Text in Row['parameters'][number] as NameIn<Text>]: TypeIn<Text>;
};

/**
 * Calls kernels of one signature by the names of its parameters: for signatures too long to read by position.
 * Each call creates an array, so use it only for kernels whose computation takes longer than that.
 */
export function callerByName<Row extends Signature>(
  row: Row,
): (kernel: KernelOf<Row>, named: NamedArguments<Row>) => ReturnType<KernelOf<Row>> {
  const names = parametersOf(row).map(({ name }) => name as keyof NamedArguments<Row>);
  return (kernel, named) => {
    const values: unknown[] = names.map((name) => named[name]);
    return kernel(...(values as Parameters<KernelOf<Row>>)) as ReturnType<KernelOf<Row>>;
  };
}
