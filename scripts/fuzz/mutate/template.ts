/** Chat templates: blocks that repeat, grow, nest, or are in the wrong place. */

import type { Dice } from '../../../test/support/random.ts';
import { type Mutation, short } from './mutation.ts';
import { mutateText } from './text.ts';

/** Attacks of a template on its renderer. */
const hostile: readonly string[] = [
  '{% for i in range(100000000) %}{% endfor %}',
  '{% for i in range(60000) %}{% for j in range(60000) %}{{ i * j }}{% endfor %}{% endfor %}',
  "{% set x = 'ab' %}",
  '{% set x = x + x %}',
  '{% set x = x ~ x ~ x %}',
  '{% set x = [x, x] %}',
  '{% set x = messages + messages %}',
  '{% set messages = [messages, messages] %}',
  '{% set messages = messages + messages %}',
  '{{ x | tojson(indent=100000) }}',
  "{{ x | join('x' * 100000) }}",
  "{{ ('x' * 1000000).replace('x', 'y' * 1000) }}",
  "{{ 'x' * 100000000000 }}",
  '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}',
  '{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}',
  "{{ raise_exception('\u001b[2J' ~ 'x' * 100000) }}",
  '{{ messages[0].__proto__.constructor }}',
  "{{ ''.constructor.constructor('return process')() }}",
  '{{ messages | map(attribute=0) | list }}',
  '{{ loop }}{{ caller() }}{{ self }}{{ namespace }}',
  "{% include 'x' %}{% extends 'y' %}{% import 'z' as z %}",
  '{{ 1 // 0 }}{{ 1 % 0 }}{{ 10 ** 1000 }}{{ -1 ** 0.5 }}',
  '{{ "\ud83d" }}{{ messages[-1e9] }}{{ messages[1:2:0] }}',
  '{% if %}{% elif %}{% endfor %}',
  `${'('.repeat(5_000)}`,
  `{{ ${'['.repeat(5_000)}${']'.repeat(5_000)} }}`,
  `${'{% if true %}'.repeat(2_000)}`,
  `${' '.repeat(20_000)}{%`,
];

type Change = (text: string, dice: Dice) => { readonly text: string; readonly what: string };

/** Where blocks begin and end. */
function edges(text: string): readonly number[] {
  return [0, ...[...text.matchAll(/\{[{%#]|[}%#]\}/g)].map(({ index }) => index), text.length];
}

const insert: Change = (text, dice) => {
  const passage = dice.pick(hostile).repeat(dice.pick([1, 1, 1, 5, 60]));
  const at = dice.pick(edges(text));
  return {
    text: text.slice(0, at) + passage + text.slice(at),
    what: `${short(passage.slice(0, 60))} at ${at}`,
  };
};

const repeat: Change = (text, dice) => {
  const [a = 0, b = 0] = [dice.pick(edges(text)), dice.pick(edges(text))].sort((x, y) => x - y);
  const times = dice.pick([2, 10, 100]);
  const block = text.slice(a, b).slice(0, 20_000);
  return {
    text: text.slice(0, b) + block.repeat(times) + text.slice(b),
    what: `${a} to ${b} ${times} times`,
  };
};

const remove: Change = (text, dice) => {
  const [a = 0, b = 0] = [dice.pick(edges(text)), dice.pick(edges(text))].sort((x, y) => x - y);
  return { text: text.slice(0, a) + text.slice(b), what: `without ${a} to ${b}` };
};

const changes: readonly Change[] = [insert, insert, insert, repeat, remove];

export function mutateTemplate(bytes: Buffer, dice: Dice): Mutation {
  if (dice.chance(0.2)) return mutateText(bytes, dice);
  const { text, what } = dice.pick(changes)(bytes.toString('utf8'), dice);
  return { bytes: Buffer.from(text), what };
}
