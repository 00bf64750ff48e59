/** The tests of templates: `is string`, `select('defined')`. */

import { Environment, type TemplateValue } from '@huggingface/jinja';
import { applyOperator } from './python-operators.ts';
import { kindOf } from './template-values.ts';

type Test = (value: TemplateValue, argument: TemplateValue | undefined) => boolean;

const compares =
  (operator: string): Test =>
  (value, argument) => {
    if (argument === undefined) throw new TypeError(`the test ${operator} needs a value`);
    return applyOperator(operator, value, argument)?.value === true;
  };

/** Tests that the interpreter lacks, or that differ from Jinja's. */
const tests: ReadonlyMap<string, Test> = new Map<string, Test>([
  ['iterable', (value) => kindOf(value) !== 'other' || value.type === 'UndefinedValue'],
  ['equalto', compares('==')],
  ['eq', compares('==')],
  ['==', compares('==')],
  ['ne', compares('!=')],
  ['!=', compares('!=')],
  ['in', compares('in')],
  ['float', ({ type }) => type === 'FloatValue'],
]);

const known = new Environment().tests;

/**
 * Whether a value passes a test.
 * @throws TypeError when the test is not supported
 */
export function applyTest(
  name: string,
  value: TemplateValue,
  args: readonly TemplateValue[] = [],
): boolean {
  const test = tests.get(name);
  if (test !== undefined) return test(value, args[0]);
  const other = known.get(name);
  if (other === undefined) throw new TypeError(`the test '${name}' is not supported`);
  return other(value, ...args);
}
