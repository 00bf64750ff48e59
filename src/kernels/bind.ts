/** Binds the exports of the compute core as kernels, and checks that they match the tables. */

import { dtypeNames, type FormatName, formatNames, formats, inFours } from '../dtype.ts';
import { FlashError } from '../errors.ts';
import { sharedConstants } from './constants.ts';
import { formatKernelTable } from './format-kernel-table.ts';
import { kernelTable } from './kernel-table.ts';
import type { Kernels } from './kernels.ts';
import { parametersOf, type Signature } from './signature.ts';

/** A kernel as a WebAssembly export. */
export type KernelFunction = (...values: number[]) => number | undefined;
/** All kernels by the names of their exports. */
export type KernelFunctions = Readonly<Record<string, KernelFunction>>;

/** A kernel's export. */
export interface KernelExport {
  readonly name: string;
  readonly kernel: string;
  /** Its implementation: a function in assembly with its type arguments. */
  readonly implementation: string;
  readonly signature: Signature;
}

/** The exports of kernels that do not depend on a format. */
export const plainExports: readonly KernelExport[] = Object.entries(kernelTable).map(
  ([kernel, signature]) => {
    const implementation = 'implementation' in signature ? signature.implementation : kernel;
    return { name: kernel, kernel, implementation, signature };
  },
);

/** The exports of the kernels that a format has. */
export function formatExports(format: FormatName): readonly KernelExport[] {
  return Object.entries(formatKernelTable).flatMap(([kernel, signature]) => {
    const all: Readonly<Partial<Record<FormatName, string>>> = signature.implementations;
    const implementation = all[format];
    if (implementation === undefined) return [];
    return [{ name: `${kernel}_${format}`, kernel, implementation, signature }];
  });
}

/** Instantiates the core over `memory`. Throws a FlashError unless its exports match the tables. */
export function instantiateCore(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): KernelFunctions {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const functions: Record<string, KernelFunction> = {};
  for (const { name, signature } of [...plainExports, ...formatNames.flatMap(formatExports)]) {
    const found = exports[name];
    const parameters = parametersOf(signature).length;
    if (typeof found !== 'function' || found.length !== parameters) {
      throw outdated(`it has no kernel ${name} of ${parameters} parameters`);
    }
    functions[name] = found as KernelFunction;
  }
  for (const [name, value] of sharedConstants) {
    const found = exports[name];
    const there = found instanceof WebAssembly.Global ? found.value : undefined;
    if (there !== value) throw outdated(`its ${name} is ${there}, not ${value}`);
  }
  return functions;
}

function outdated(what: string): FlashError {
  return new FlashError(
    `the compute core was built from other sources: ${what}`,
    {},
    'Run "npm run build"',
  );
}

/** Gives exports, or functions in their place, the types of kernels. */
export function bindKernels(functions: KernelFunctions): Kernels {
  const bind = (exports: readonly KernelExport[]) =>
    Object.fromEntries(exports.map(({ name, kernel }) => [kernel, functions[name]]));
  const entry = (format: FormatName) => [format, bind(formatExports(format))] as const;
  const inFoursNames = formatNames.filter((name) => inFours(formats[name]));
  return {
    ...bind(plainExports),
    byDType: Object.fromEntries(dtypeNames.map(entry)),
    packedF16: bind(formatExports('packed_f16')),
    fours: Object.fromEntries(inFoursNames.map(entry)),
  } as unknown as Kernels;
}
