/**
 * A template's program, with changes that add Jinja's behaviour to the interpreter: values are written as
 * Python writes them, a loop over an undefined value has no turns, and variables set in a loop's body are
 * forgotten after each turn.
 */

import { parse, type TemplateNode, tokenize } from '@huggingface/jinja';

/** Nodes that the interpreter does not have. */
export interface OutputNode extends TemplateNode {
  readonly type: 'Output';
  readonly expression: TemplateNode;
}
export interface IterableNode extends TemplateNode {
  readonly type: 'Iterable';
  readonly expression: TemplateNode;
}
export interface ScopeNode extends TemplateNode {
  readonly type: 'Scope';
  readonly program: TemplateNode;
}

/** Statements of a block that write nothing, or only what their own blocks write. */
const statements: ReadonlySet<string> = new Set([
  'Program',
  'Set',
  'If',
  'For',
  'Macro',
  'CallStatement',
  'FilterStatement',
  'Break',
  'Continue',
  'Comment',
  'StringLiteral',
]);

const blocks = ['body', 'alternate', 'defaultBlock'];

/**
 * The program of a template's text.
 * @throws SyntaxError when the text is not a template, RangeError when it nests too deeply
 */
export function compileTemplate(source: string): TemplateNode {
  // Independent of the file's line endings.
  const text = source.replace(/\r\n?/g, '\n');
  const program = parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }));
  adapt(program);
  return program;
}

type Fields = Record<string, unknown>;

/** A node of the class of `like`, as the interpreter checks classes when it looks for macros. */
function made<T extends TemplateNode>(like: TemplateNode, fields: T): T {
  return Object.assign(Object.create(Object.getPrototypeOf(like)) as T, fields);
}

function isNode(value: unknown): value is TemplateNode {
  return typeof value === 'object' && value !== null && typeof (value as Fields).type === 'string';
}

function adapt(node: TemplateNode): void {
  const fields = node as unknown as Fields;
  for (const name of blocks) {
    const block = fields[name];
    if (!Array.isArray(block)) continue;
    const nodes = block.filter(isNode);
    for (const inner of nodes) adapt(inner);
    fields[name] = nodes.map((inner): TemplateNode => {
      if (statements.has(inner.type)) return inner;
      const output: OutputNode = { type: 'Output', expression: inner };
      return made(inner, output);
    });
  }
  if (node.type !== 'For') return;
  const body = fields.body as TemplateNode[];
  const program = { type: 'Program', body } as TemplateNode;
  const scope: ScopeNode = { type: 'Scope', program: made(node, program) };
  fields.body = [made(node, scope)];
  const iterable = fields.iterable as TemplateNode;
  // `for x in list if test`
  if (iterable.type === 'SelectExpression') wrapIterable(iterable as unknown as Fields, 'lhs');
  else wrapIterable(fields, 'iterable');
}

function wrapIterable(fields: Fields, name: string): void {
  const expression = fields[name] as TemplateNode;
  const iterable: IterableNode = { type: 'Iterable', expression };
  fields[name] = made(expression, iterable);
}
