/** The exports of the AssemblyScript sources, with what the export files need of them. */

import { readdirSync, readFileSync } from 'node:fs';
import type { AssemblyParameter } from '../../src/kernels/signature.ts';

/** An exported function, generic or not. */
export interface AssemblyFunction {
  /** Names and types as the source spells them. */
  readonly parameters: readonly { readonly name: string; readonly type: string }[];
  readonly result: string;
}

/** One source file by its module's name: `matmul` of `matmul.ts`. */
export interface AssemblySource {
  readonly module: string;
  readonly text: string;
}

/** The sources that are written by hand. */
export function readSources(directory: URL): readonly AssemblySource[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.ts') && name !== 'index.ts')
    .map((name) => ({
      module: name.slice(0, -3),
      text: readFileSync(new URL(name, directory), 'utf8'),
    }));
}

/** Exported names and where they are, of all sources. */
export class AssemblyExports {
  readonly #modules = new Map<string, string[]>();
  readonly #functions = new Map<string, AssemblyFunction>();

  constructor(sources: readonly AssemblySource[]) {
    for (const { module, text } of sources) {
      const names = text.matchAll(/^export (?:abstract )?(?:function|class|const) (\w+)/gm);
      for (const [, name = ''] of names) {
        this.#modules.set(name, [...(this.#modules.get(name) ?? []), module]);
      }
      const functions = text.matchAll(/^export function (\w+)(?:<[^(]*>)?\(([^)]*)\): (\w+)/gm);
      for (const [, name = '', list = '', result = ''] of functions) {
        const parameters = list
          .split(',')
          .map((parameter) => parameter.trim())
          .filter((parameter) => parameter !== '')
          .map((parameter) => {
            const [own = '', type = ''] = parameter.split(': ');
            return { name: own, type };
          });
        this.#functions.set(name, { parameters, result });
      }
    }
  }

  /** The module that exports a name. Throws unless it is exactly one. */
  moduleOf(name: string): string {
    const [module, ...more] = this.#modules.get(name) ?? [];
    if (module === undefined) throw new Error(`no file in assembly exports ${name}`);
    if (more.length > 0) {
      const files = [module, ...more].map((each) => `${each}.ts`).join(', ');
      throw new Error(`${name} is exported by several files in assembly: ${files}`);
    }
    return module;
  }

  /**
   * How a function's signature differs from a kernel's, or null if it does not: names, order and types of
   * its parameters, and the type of its result.
   */
  difference(
    name: string,
    parameters: readonly AssemblyParameter[],
    result: string,
  ): string | null {
    const module = this.moduleOf(name);
    const found = this.#functions.get(name);
    if (found === undefined) return `${name} in assembly/${module}.ts is no function`;
    const write = (
      list: readonly { readonly name: string; readonly type: string }[],
      end: string,
    ) => `(${list.map((each) => `${each.name}: ${each.type}`).join(', ')}): ${end}`;
    const wanted = write(parameters, result);
    const there = write(found.parameters, found.result);
    if (wanted === there) return null;
    return `${name} in assembly/${module}.ts is\n  ${there}, in the table of kernels\n  ${wanted}`;
  }
}
