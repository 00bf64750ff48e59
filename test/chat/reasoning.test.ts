import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReasoningSplitter } from '../../src/chat/reasoning.ts';
import { Dice } from '../support/random.ts';

/** The parts of a text that comes in pieces, with neighbours of one kind joined. */
function partsOf(pieces: readonly string[], prompt?: string): [boolean, string][] {
  const splitter = new ReasoningSplitter(prompt);
  const joined: [boolean, string][] = [];
  for (const part of [...pieces.flatMap((piece) => splitter.push(piece)), ...splitter.flush()]) {
    const last = joined.at(-1);
    if (last?.[0] === part.thought) last[1] += part.text;
    else joined.push([part.thought, part.text]);
  }
  return joined;
}

const text = 'a<think>b < c </thin k></think>d</think><think></think>e<thin';
const parts: [boolean, string][] = [
  [false, 'a'],
  [true, '<think>b < c </thin k></think>'],
  [false, 'd</think>'],
  [true, '<think></think>'],
  [false, 'e<thin'],
];

test('thoughts are told apart, however a text is cut', () => {
  assert.deepEqual(partsOf([text]), parts);
  assert.deepEqual(partsOf([...text]), parts);
  const dice = new Dice(3);
  for (let run = 0; run < 50; run++) {
    const pieces: string[] = [];
    for (let at = 0; at < text.length; ) {
      const length = dice.between(1, 9);
      pieces.push(text.slice(at, at + length));
      at += length;
    }
    assert.deepEqual(partsOf(pieces), parts);
  }
});

test('a prompt may have opened the thought', () => {
  const rest: [boolean, string][] = [
    [true, 'x</think>'],
    [false, 'y'],
  ];
  assert.deepEqual(partsOf(['x</th', 'ink>y'], 'user <think>\n'), rest);
  assert.deepEqual(partsOf(['x'], '<think></think>'), [[false, 'x']]);
});

test('nothing certain is held back', () => {
  const splitter = new ReasoningSplitter();
  assert.deepEqual(splitter.push('Hello <b'), [{ text: 'Hello <b', thought: false }]);
  assert.deepEqual(splitter.push(' <thi'), [{ text: ' ', thought: false }]);
  assert.deepEqual(splitter.push('s'), [{ text: '<this', thought: false }]);
});
