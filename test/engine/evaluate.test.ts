import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { documentsOf, splitDocuments, windowsOf } from '../../src/engine/documents.ts';
import { evaluate } from '../../src/engine/evaluate.ts';
import { storiesOpt, validText } from '../support/fixtures.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { converted, withSequence } from './support.ts';

const root = temporaryRoot();
let model = '';
before(async () => {
  model = await converted(root, storiesOpt);
});

test('documents end at lines that hold only the mark; newlines at their ends are dropped', () => {
  assert.deepEqual(
    splitDocuments(
      '\n\none\n\ntwo\n<|endoftext|>\n<|endoftext|>\nx <|endoftext|> y\r\n<|endoftext|>\r\nz',
    ),
    ['one\n\ntwo', 'x <|endoftext|> y', 'z'],
  );
  assert.deepEqual(splitDocuments('\n<|endoftext|>\n'), []);
});

test('windows are scored by hand the same way', async () => {
  const text = 'Once upon a time there was a cat.\n<|endoftext|>\nThe dog ran away.';
  await withSequence(model, 64 * 2 ** 20, { context: 6, logits: 'all' }, async (sequence) => {
    const result = await evaluate(sequence, { documents: splitDocuments(text), context: 6 });
    const { tokenizer, manifest } = sequence.runtime.model;
    const { vocabSize } = manifest.spec;
    let sum = 0;
    let count = 0;
    for (const document of ['Once upon a time there was a cat.', 'The dog ran away.']) {
      const ids = tokenizer.encode(document);
      for (let at = 0; at < ids.length; at += 5) {
        const window = ids.slice(at, at + 5);
        const logits = await sequence.logits([2, ...window.slice(0, -1)]);
        for (const [index, id] of window.entries()) {
          const row = Array.from(logits.subarray(index * vocabSize, (index + 1) * vocabSize));
          const total = row.reduce((acc, logit) => acc + Math.exp(logit), 0);
          sum += Math.log(total) - (row[id] ?? 0);
          count++;
        }
      }
    }
    assert.equal(result.tokens, count);
    assert.ok(Math.abs(result.nll - sum / count) < 1e-9);
    assert.equal(result.perplexity, Math.exp(result.nll));
  });
});

test('a text without tokens and a context without room are refused', async () => {
  await withSequence(model, 64 * 2 ** 20, { context: 6, logits: 'all' }, async (sequence) => {
    await assert.rejects(evaluate(sequence, { documents: [], context: 6 }), /no tokens to score/);
    await assert.rejects(
      evaluate(sequence, { documents: ['x'], context: 1 }),
      /context must be 2 to 512/,
    );
    await assert.rejects(evaluate(sequence, { documents: ['x'], context: 513 }), /not 513/);
  });
});

test('documents are the same however their text arrives', async () => {
  const text =
    '\ufeff<|endoftext|>\na\u2028<|endoftext|>\u2028b\n<|endoftext|>\r\n\nc <|endoftext|>\nd\n\n<|endoftext|>';
  const expected = ['a\u2028<|endoftext|>\u2028b', 'c <|endoftext|>\nd'];
  assert.deepEqual(splitDocuments(text), expected);
  const dice = new Dice(31);
  for (let round = 0; round < 200; round++) {
    async function* parts() {
      for (let at = 0; at < text.length; ) {
        const length = dice.between(1, 20);
        yield text.slice(at, at + length);
        at += length;
      }
    }
    const found: string[] = [];
    for await (const document of documentsOf(parts())) found.push(document);
    assert.deepEqual(found, expected);
  }
});

test('a long document has the same windows in pieces', async () => {
  await withSequence(model, 64 * 2 ** 20, { context: 6 }, async (sequence) => {
    const { tokenizer } = sequence.runtime.model;
    const text = readFileSync(validText, 'utf8').replaceAll('<|endoftext|>', '***');
    const whole = tokenizer.encode(text);
    const windows: (readonly number[])[] = [];
    for await (const window of windowsOf([text], tokenizer, 255)) windows.push(window);
    assert.deepEqual(windows.flat(), whole);
    assert.ok(windows.slice(0, -1).every((window) => window.length === 255));
  });
});
