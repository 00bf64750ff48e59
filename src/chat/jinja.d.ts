/**
 * Types for the parts of the Jinja interpreter that are used. Its own declarations import each other without
 * extensions, so that TypeScript does not find them from a module.
 */

declare module '@huggingface/jinja' {
  /** A value that a template computes with; `type` names its class. */
  export interface TemplateValue {
    readonly type: string;
    readonly value: unknown;
  }

  /** A node of a parsed template. */
  export interface TemplateNode {
    readonly type: string;
  }

  export class Environment {
    readonly variables: Map<string, TemplateValue>;
    /** The tests of `is` and `select`, by name. */
    readonly tests: ReadonlyMap<string, (...values: TemplateValue[]) => boolean>;
    constructor(parent?: Environment);
    /** Declares a variable of a plain value. */
    set(name: string, value: unknown): TemplateValue;
    setVariable(name: string, value: TemplateValue): TemplateValue;
  }

  export class Interpreter {
    constructor(environment: Environment);
    run(program: TemplateNode): TemplateValue;
    evaluate(node: TemplateNode | undefined, environment: Environment): TemplateValue;
  }

  export function tokenize(
    source: string,
    options: { readonly lstrip_blocks: boolean; readonly trim_blocks: boolean },
  ): readonly unknown[];

  /** @throws SyntaxError when the tokens are not a template */
  export function parse(tokens: readonly unknown[]): TemplateNode;
}
