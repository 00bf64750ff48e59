/**
 * Jinja in bounds, and with Python's ideas of values where the interpreter has JavaScript's. A template
 * comes with a model, so it is as little to be trusted as the rest: it may loop without end, double a text
 * fifty times, or nest lists until writing them out takes all memory. Time is limited by whoever renders
 * (see template.ts); here are the steps and what each of them makes.
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

/** Nodes of the template that are evaluated. A conversation of a thousand messages takes 100,000. */
const mostSteps = 20_000_000;

/** Names that no template can write. */
const held = ' held';
const heldRight = ' held right';

function nameNode(value: string): TemplateNode {
  const node = { type: 'Identifier', value };
  return node;
}
const heldName = nameNode(held);
const heldRightName = nameNode(heldRight);

/** Nodes as they are used here. */
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

/** A child of `environment` in which values have names; the nodes that use them evaluate them no more. */
function holding(
  environment: Environment,
  value: TemplateValue,
  right?: TemplateValue,
): Environment {
  const inner = new Environment(environment);
  // Each environment brings a namespace function of its own, which would hide one from outside.
  inner.variables.clear();
  inner.setVariable(held, value);
  if (right !== undefined) inner.setVariable(heldRight, right);
  return inner;
}

export class BoundedInterpreter extends Interpreter {
  readonly #meter = new ValueMeter();
  /** What calls are about to call. */
  readonly #callees = new WeakSet<TemplateNode>();
  #steps = 0;

  /** @throws TemplateSizeError when there are too many steps, or one makes too much */
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

  /** What is written of a value. */
  #output(value: TemplateValue): TemplateValue {
    return kindOf(value) === 'text' ? value : toTemplateValue(pythonText(value));
  }

  /** What a loop goes through: the characters of a text, nothing of what is undefined. */
  #iterable(value: TemplateValue): TemplateValue {
    if (value.type === 'UndefinedValue') return listValue([]);
    const text = textOf(value);
    if (text !== undefined) return characters(text);
    const items = itemsOf(value);
    // The interpreter takes lists alone apart, into the names of a loop.
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
    // A method of a text that is kept could be called without its limits.
    if (kindOf(value) !== 'function' || this.#callees.has(node)) return value;
    throw new TypeError('a method is used without being called');
  }

  /** A method call: those of texts as Python does them. */
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

  /** The arguments of a call, with those by name in one value at the end, as the interpreter hands them on. */
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
  // Each takes as much memory as many do in a text.
  checkSize(text.length * 16);
  return listValue(Array.from(text, toTemplateValue));
}
