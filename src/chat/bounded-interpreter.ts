/**
 * A Jinja interpreter with limits, and with Python's semantics of values where the library has JavaScript's.
 * A template comes with a model, so it cannot be trusted either: it may loop without end, double a text
 * fifty times, or nest lists until writing them out takes all memory. template.ts limits the time of
 * rendering; this file limits the number of steps and the size of their results.
 */

import {
  Environment,
  Interpreter,
  type TemplateNode,
  type TemplateValue,
} from '@huggingface/jinja';
import { applyFilter, growthOf } from './python-filters.ts';
import { applyOperator } from './python-operators.ts';
import { applyTest } from './python-tests.ts';
import { textMethods } from './python-text.ts';
import { pythonText } from './python-values.ts';
import type { IterableNode, OutputNode, ScopeNode } from './template-program.ts';
import { checkSize, TemplateSizeError, ValueMeter } from './template-size.ts';
import {
  functionValue,
  itemsOf,
  kindOf,
  listValue,
  textOf,
  toTemplateValue,
} from './template-values.ts';

/** The most nodes of a template that are evaluated. A conversation of a thousand messages takes 100,000. */
const mostSteps = 20_000_000;

/** Names that no template can contain. */
const held = ' held';
const heldRight = ' held right';

function nameNode(value: string): TemplateNode {
  const node = { type: 'Identifier', value };
  return node;
}
const heldName = nameNode(held);
const heldRightName = nameNode(heldRight);

/** The parts of nodes that are used here. */
interface CallNode extends TemplateNode {
  readonly callee: MemberNode;
  readonly args: readonly TemplateNode[];
}
interface MemberNode extends TemplateNode {
  readonly object: TemplateNode;
  readonly property: TemplateNode & { readonly value?: unknown };
  readonly computed: boolean;
}
interface BinaryNode extends TemplateNode {
  readonly operator: { readonly value: string };
  readonly left: TemplateNode;
  readonly right: TemplateNode;
}
interface TestNode extends TemplateNode {
  readonly operand: TemplateNode;
  readonly negate: boolean;
  readonly test: { readonly value: string };
}
interface FilterNode extends TemplateNode {
  readonly operand: TemplateNode;
  readonly filter: TemplateNode & {
    readonly value?: unknown;
    readonly callee?: { readonly value?: unknown };
    readonly args?: readonly TemplateNode[];
  };
}

/**
 * A child of `environment` that binds evaluated values to names, so that nodes using them do not
 * evaluate them again.
 */
function holding(
  environment: Environment,
  value: TemplateValue,
  right?: TemplateValue,
): Environment {
  const inner = new Environment(environment);
  // Each environment defines its own namespace function, which would hide an outer one.
  inner.variables.clear();
  inner.setVariable(held, value);
  if (right !== undefined) inner.setVariable(heldRight, right);
  return inner;
}

export class BoundedInterpreter extends Interpreter {
  readonly #meter = new ValueMeter();
  /** The functions of the calls under way. */
  readonly #callees = new WeakSet<TemplateNode>();
  #steps = 0;

  /** @throws TemplateSizeError when there are too many steps, or a result is too large */
  override evaluate(node: TemplateNode | undefined, environment: Environment): TemplateValue {
    if (++this.#steps > mostSteps) {
      throw new TemplateSizeError(`takes more than ${mostSteps} steps`);
    }
    const value = this.#evaluate(node, environment);
    this.#meter.measure(value);
    return value;
  }

  #evaluate(node: TemplateNode | undefined, environment: Environment): TemplateValue {
    switch (node?.type) {
      case 'Output':
        return this.#output(this.evaluate((node as OutputNode).expression, environment));
      case 'Iterable':
        return this.#iterable(this.evaluate((node as IterableNode).expression, environment));
      case 'Scope':
        return super.evaluate((node as ScopeNode).program, new Environment(environment));
      case 'BinaryExpression':
        return this.#operator(node as BinaryNode, environment);
      case 'TestExpression':
        return this.#test(node as TestNode, environment);
      case 'FilterExpression':
        return this.#filter(node as FilterNode, environment);
      case 'CallExpression':
        if ((node as CallNode).callee.type !== 'MemberExpression') break;
        return this.#callMethod(node as CallNode, environment);
      case 'MemberExpression':
        return this.#member(node as MemberNode, environment);
    }
    return super.evaluate(node, environment);
  }

  /** The text that is written for a value. */
  #output(value: TemplateValue): TemplateValue {
    return kindOf(value) === 'text' ? value : toTemplateValue(pythonText(value));
  }

  /** The items of a loop: the characters of a text; none for an undefined value. */
  #iterable(value: TemplateValue): TemplateValue {
    if (value.type === 'UndefinedValue') return listValue([]);
    const text = textOf(value);
    if (text !== undefined) return characters(text);
    const items = itemsOf(value);
    // The interpreter only unpacks lists into the names of a loop.
    if (!items?.some(({ type }) => type === 'TupleValue')) return value;
    return listValue(
      items.map((item) => (item.type === 'TupleValue' ? listValue(itemsOf(item) ?? []) : item)),
    );
  }

  #operator(node: BinaryNode, environment: Environment): TemplateValue {
    const { operator, left, right } = node;
    if (operator.value === 'and' || operator.value === 'or')
      return super.evaluate(node, environment);
    const one = this.evaluate(left, environment);
    const two = this.evaluate(right, environment);
    const found = applyOperator(operator.value, one, two);
    if (found !== undefined) return found;
    const named = { ...node, left: heldName, right: heldRightName };
    return super.evaluate(named, holding(environment, one, two));
  }

  #member(node: MemberNode, environment: Environment): TemplateValue {
    const object = this.evaluate(node.object, environment);
    if (object.type === 'UndefinedValue')
      throw new TypeError('an undefined value has no attributes');
    const text = textOf(object);
    if (text !== undefined && node.computed && node.property.type !== 'SliceExpression') {
      const index = this.evaluate(node.property, environment);
      if (index.type === 'IntegerValue') return toTemplateValue([...text].at(Number(index.value)));
    }
    const named = { ...node, object: heldName };
    const value = super.evaluate(named, holding(environment, object));
    // A stored method of a text could later be called without its limits.
    if (kindOf(value) !== 'function' || this.#callees.has(node)) return value;
    throw new TypeError('a method is used without being called');
  }

  /** A method call; methods of texts follow Python. */
  #callMethod(node: CallNode, environment: Environment): TemplateValue {
    const { callee } = node;
    const object = this.evaluate(callee.object, environment);
    const text = textOf(object);
    const name = callee.computed
      ? textOf(this.evaluate(callee.property, environment))
      : callee.property.value;
    const method = text === undefined ? undefined : textMethods.get(String(name));
    if (text !== undefined && method !== undefined) {
      return method(text, this.#argumentsOf(node.args, environment));
    }
    const member = { ...callee, object: heldName };
    this.#callees.add(member);
    const call = { ...node, callee: member };
    return super.evaluate(call, holding(environment, object));
  }

  /** The arguments of a call, with the named ones in one value at the end, as the interpreter passes them. */
  #argumentsOf(args: readonly TemplateNode[], environment: Environment): readonly TemplateValue[] {
    let found: readonly TemplateValue[] = [];
    const keep = functionValue((given) => {
      found = given;
      return toTemplateValue(null);
    });
    const call = { type: 'CallExpression', callee: heldName, args };
    super.evaluate(call, holding(environment, keep));
    return found;
  }

  #test(node: TestNode, environment: Environment): TemplateValue {
    const operand = this.evaluate(node.operand, environment);
    return toTemplateValue(applyTest(node.test.value, operand) !== node.negate);
  }

  #filter(node: FilterNode, environment: Environment): TemplateValue {
    const operand = this.evaluate(node.operand, environment);
    const { filter } = node;
    const name = String(filter.callee?.value ?? filter.value);
    const args = this.#argumentsOf(filter.args ?? [], environment);
    checkSize(growthOf(name, operand, args, this.#meter));
    const found = applyFilter(name, operand, args);
    if (found !== undefined) return found;
    const named = { ...node, operand: heldName };
    return super.evaluate(named, holding(environment, operand));
  }
}

/** The characters of a text as a list. */
function characters(text: string): TemplateValue {
  // Each takes as much memory as many characters within a text.
  checkSize(text.length * 16);
  return listValue(Array.from(text, toTemplateValue));
}
