/**
 * The files in which the compute core exports its kernels, and the constants that it shares with
 * TypeScript. AssemblyScript exports no generic functions, so each format of weights gets a copy of each
 * kernel, under a name of its own.
 */

import { type FormatName, formatNames } from '../../src/dtype.ts';
import { formatExports, type KernelExport, plainExports } from '../../src/kernels/bind.ts';
import { sharedConstants } from '../../src/kernels/constants.ts';
import { parametersOf } from '../../src/kernels/signature.ts';
import type { AssemblyExports } from './assembly-sources.ts';

const lineWidth = 100;
const notice = 'Written by "npm run generate".';

/** The text of every file, by its path in assembly/. Throws if a function does not match its kernel. */
export function exportFiles(exports: AssemblyExports): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  files.set('exports/shared-constants.ts', constantsFile());
  files.set('exports/kernels.ts', kernelsFile(exports, plainExports, 'that depend on no format'));
  for (const format of formatNames) {
    const kernels = formatExports(format);
    files.set(formatFile(format), kernelsFile(exports, kernels, `for weights in ${format}`));
  }
  files.set('index.ts', indexFile([...files.keys()]));
  return files;
}

function formatFile(format: FormatName): string {
  return `exports/${format.replaceAll('_', '-')}.ts`;
}

function constantsFile(): string {
  const lines = sharedConstants.map(([name, value]) => {
    const type = name.endsWith('_BYTES') ? 'usize' : 'i32';
    return `export const ${name}: ${type} = ${value};`;
  });
  return `/** The constants of src/kernels/constants.ts. ${notice} */\n\n${lines.join('\n')}\n`;
}

function indexFile(paths: readonly string[]): string {
  const lines = paths.map((path) => `export * from './${path.slice(0, -3)}';`);
  return `/**
 * The exports of the compute core: pure functions over addresses in one shared memory, without
 * allocation or state of their own. Each is described in src/kernels/kernel-table.ts or
 * format-kernel-table.ts. ${notice}
 */
${lines.sort().join('\n')}
`;
}

/** A file of kernels: those that need no type arguments are passed on, others wrapped. */
function kernelsFile(
  exports: AssemblyExports,
  kernels: readonly KernelExport[],
  which: string,
): string {
  const problems = kernels.flatMap(({ implementation, signature }) => {
    const parameters = parametersOf(signature);
    const { name } = applied(implementation);
    return exports.difference(name, parameters, signature.result ?? 'void') ?? [];
  });
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const generic = kernels.filter(({ implementation }) => implementation.includes('<'));
  const names = new Set(kernels.map(({ name }) => name));
  const imported = new Map<string, string>();
  for (const { implementation } of generic) {
    for (const [name] of implementation.matchAll(/\w+/g)) {
      // A kernel of the same name is exported here.
      imported.set(name, names.has(name) ? `${name}Of` : name);
    }
  }
  const plain = kernels.filter(({ implementation }) => !implementation.includes('<'));
  const sections = [
    `/** The kernels ${which}. ${notice} */`,
    fromModules('import', exports, [...imported]),
    fromModules(
      'export',
      exports,
      plain.map(({ implementation, name }) => [implementation, name] as const),
    ),
    ...generic.map((kernel) => wrapper(kernel, imported)),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

/** Statements that import names, or pass them on, each with what it is called from here on. */
function fromModules(
  keyword: 'import' | 'export',
  exports: AssemblyExports,
  names: readonly (readonly [there: string, here: string])[],
): string {
  const modules = new Map<string, string[]>();
  for (const [there, here] of [...names].sort(([a], [b]) => order(a, b))) {
    const module = exports.moduleOf(there);
    const entry = there === here ? there : `${there} as ${here}`;
    modules.set(module, [...(modules.get(module) ?? []), entry]);
  }
  return [...modules]
    .sort(([a], [b]) => order(a, b))
    .map(([module, list]) => fitted(`${keyword} { `, list, ` } from '../${module}';`))
    .join('\n');
}

/** `matmul<PlainDots<F16>>` as `matmul` and `<PlainDots<F16>>`. */
function applied(implementation: string): { readonly name: string; readonly types: string } {
  const at = implementation.indexOf('<');
  if (at < 0) return { name: implementation, types: '' };
  return { name: implementation.slice(0, at), types: implementation.slice(at) };
}

function wrapper(
  { name, implementation, signature }: KernelExport,
  imported: ReadonlyMap<string, string>,
): string {
  const parameters = parametersOf(signature);
  const { result = 'void' } = signature;
  const { name: generic, types } = applied(implementation);
  const head = fitted(
    `export function ${name}(`,
    parameters.map((parameter) => `${parameter.name}: ${parameter.type}`),
    `): ${result} {`,
  );
  const call = fitted(
    `${result === 'void' ? '' : 'return '}${imported.get(generic)}${types}(`,
    parameters.map((parameter) => parameter.name),
    ');',
    '  ',
  );
  return `${head}\n  ${call}\n}`;
}

/** A list between brackets: on one line if it fits, else one entry per line, as the formatter has it. */
function fitted(before: string, entries: readonly string[], after: string, indent = ''): string {
  const line = before + entries.join(', ') + after;
  if (indent.length + line.length <= lineWidth) return line;
  const lines = entries.map((entry) => `${indent}  ${entry},`);
  return [before.trimEnd(), ...lines, indent + after.trimStart()].join('\n');
}

/** The formatter's order of names: letter by letter, a capital before its small letter. */
function order(a: string, b: string): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [x = '', y = ''] = [a[i], b[i]];
    if (x === y) continue;
    if (x.toLowerCase() === y.toLowerCase()) return x < y ? -1 : 1;
    return x.toLowerCase() < y.toLowerCase() ? -1 : 1;
  }
  return a.length - b.length;
}
