import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Trie } from '../../src/tokenizer/pipeline/trie.ts';
import { Dice } from '../support/random.ts';

test('the longest text at a place is found, whatever texts begin alike', () => {
  const dice = new Dice(1);
  const word = () =>
    Array.from({ length: dice.between(1, 6) }, () => dice.pick(['a', 'b', 'c', '\0'])).join('');
  for (let round = 0; round < 50; round++) {
    const trie = new Trie();
    const ids = new Map<string, number>();
    for (let id = 0; id < 40; id++) {
      const text = word();
      assert.equal(trie.add(text, id), !ids.has(text));
      if (!ids.has(text)) ids.set(text, id);
    }
    const text = Array.from({ length: 10 }, word).join('');
    for (let at = 0; at < text.length; at++) {
      const [longest] = [...ids.keys()]
        .filter((added) => text.startsWith(added, at))
        .sort((a, b) => b.length - a.length);
      const expected =
        longest === undefined ? null : { id: ids.get(longest), end: at + longest.length };
      assert.deepEqual(trie.longestAt(text, at), expected);
    }
    assert.equal(trie.longestAt(text, text.length), null);
  }
});
