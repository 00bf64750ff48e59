/** Binary operators that differ between Python and the Jinja interpreter. */

import type { TemplateValue } from '@huggingface/jinja';
import { compareTexts, pythonEquals, pythonText } from './python-values.ts';
import { checkSize } from './template-size.ts';
import { itemsOf, textOf, toTemplateValue } from './template-values.ts';

const comparisons: ReadonlyMap<string, (order: number) => boolean> = new Map<
  string,
  (order: number) => boolean
>([
  ['<', (order) => order < 0],
  ['<=', (order) => order <= 0],
  ['>', (order) => order > 0],
  ['>=', (order) => order >= 0],
]);

/**
 * The value of `left operator right`; undefined if the interpreter's own result agrees with Python.
 * @throws TypeError where Python does
 */
export function applyOperator(
  operator: string,
  left: TemplateValue,
  right: TemplateValue,
): TemplateValue | undefined {
  const [one, two] = [textOf(left), textOf(right)];
  switch (operator) {
    case '==':
      return toTemplateValue(pythonEquals(left, right));
    case '!=':
      return toTemplateValue(!pythonEquals(left, right));
    case '~':
      return toTemplateValue(pythonText(left) + pythonText(right));
    case '+':
      if ((one === undefined) === (two === undefined)) return undefined;
      throw new TypeError('only a string can be added to a string');
    case '*':
      return repeated(one, right) ?? repeated(two, left);
    case 'in':
    case 'not in':
      return contained(left, right, operator === 'in');
  }
  const comparison = comparisons.get(operator);
  if (comparison === undefined || one === undefined || two === undefined) return undefined;
  return toTemplateValue(comparison(compareTexts(one, two)));
}

function repeated(
  text: string | undefined,
  { type, value }: TemplateValue,
): TemplateValue | undefined {
  if (text === undefined || type !== 'IntegerValue') return undefined;
  const times = Math.max(0, Number(value));
  checkSize(text.length * times);
  return toTemplateValue(text.repeat(times));
}

function contained(
  left: TemplateValue,
  right: TemplateValue,
  wanted: boolean,
): TemplateValue | undefined {
  const items = itemsOf(right);
  if (items === undefined) return undefined;
  return toTemplateValue(items.some((item) => pythonEquals(item, left)) === wanted);
}
