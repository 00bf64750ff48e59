import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Decoding, StreamDecoder } from '../../src/tokenizer/stream-decoder.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { directoryWith, fixture, gpt2, randomFrom, randomText } from './support.ts';

/** What comes out for each id, and last what `flush` gives. */
function stream(tokenizer: Decoding, ids: readonly number[], skipSpecial = false): string[] {
  const decoder = new StreamDecoder(tokenizer, { skipSpecial });
  return [...ids.map((id) => decoder.push(id)), decoder.flush()];
}

function assertSameAsWhole(tokenizer: Decoding, ids: readonly number[], skipSpecial: boolean) {
  const whole = tokenizer.decode(ids, { skipSpecial });
  assert.equal(stream(tokenizer, ids, skipSpecial).join(''), whole, `ids ${ids.join(' ')}`);
}

function randomIds(random: () => number, count: number, size: number): number[] {
  return Array.from({ length: count }, () => Math.floor(random() * size));
}

/** A tokenizer.json in the manner of Llama: SentencePiece BPE with bytes, leading blank dropped. */
function sentencePieceJson(decoder: unknown): unknown {
  const vocab: Record<string, number> = { '<unk>': 0, '<s>': 1, '</s>': 2 };
  for (let byte = 0; byte < 256; byte++) {
    vocab[`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`] = 3 + byte;
  }
  for (const piece of ['▁', '▁▁', 'a', 'b', '▁a', '▁b', 'ab', 'é', '\ufffd', '▁\ufffd', 'hello']) {
    vocab[piece] = Object.keys(vocab).length;
  }
  const special = ['<unk>', '<s>', '</s>'];
  return {
    added_tokens: special.map((content, id) => ({ id, content, special: true })),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder,
    model: { type: 'BPE', unk_token: '<unk>', byte_fallback: true, vocab, merges: ['▁ a', '▁ b'] },
  };
}

const llamaDecoder = {
  type: 'Sequence',
  decoders: [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ],
};

describe('byte-level tokens', () => {
  test('text comes out as it becomes certain, characters whole', async (t) => {
    const tokenizer = await gpt2(t);
    const text = 'Well 🦙 é 日本語 👩‍👩‍👧 end';
    const ids = tokenizer.encode(text);
    const pieces = stream(tokenizer, ids);
    assert.equal(pieces.join(''), text);
    assert.ok(pieces.every((piece) => !piece.includes('\ufffd')));
    assert.equal(pieces.at(-1), '');
    assert.equal(pieces[0], 'Well');
  });

  test('a character that never becomes whole is U+FFFD, at the latest in flush', async () => {
    const tokenizer = await loadTokenizer(fixture('stories-opt'));
    const [lead] = tokenizer.encode('é');
    assert.deepEqual(stream(tokenizer, [lead as number]), ['', '\ufffd']);
    const a = tokenizer.encode('a')[0] as number;
    assert.deepEqual(stream(tokenizer, [lead as number, a]), ['', '\ufffda', '']);
  });

  test('U+FFFD in the text itself is kept', async (t) => {
    const tokenizer = await gpt2(t);
    const text = 'a\ufffdb\ufffd\ufffd';
    assert.equal(stream(tokenizer, tokenizer.encode(text)).join(''), text);
  });

  test('equals the whole for random ids', async (t) => {
    const large = await gpt2(t);
    const small = await loadTokenizer(fixture('stories-opt'));
    const random = randomFrom(3);
    for (let i = 0; i < 200; i++) {
      assertSameAsWhole(large, randomIds(random, 40, 50260), i % 2 === 0);
      assertSameAsWhole(small, randomIds(random, 40, 2060), i % 2 === 0);
    }
  });

  test('equals the whole for random bytes, specials in between', async () => {
    const tokenizer = await loadTokenizer(fixture('stories-opt'));
    const random = randomFrom(4);
    // Ids 0 to 259 are the four special tokens and the single bytes: mostly broken UTF-8.
    for (let i = 0; i < 200; i++) {
      assertSameAsWhole(tokenizer, randomIds(random, 80, 260), i % 2 === 0);
    }
  });

  test('equals the whole for random texts', async () => {
    const tokenizer = await loadTokenizer(fixture('stories-opt'));
    const random = randomFrom(5);
    for (let i = 0; i < 100; i++) {
      assertSameAsWhole(tokenizer, tokenizer.encode(randomText(random, 30)), false);
    }
  });
});

describe('tokens in the manner of SentencePiece', () => {
  for (const [name, decoder] of [
    ['Metaspace', { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' }],
    ['Replace, ByteFallback, Fuse, Strip', llamaDecoder],
  ] as const) {
    test(`${name}: only the first leading blank is dropped`, async (t) => {
      const dir = await directoryWith(t, { 'tokenizer.json': sentencePieceJson(decoder) });
      const tokenizer = await loadTokenizer(dir, { bosId: 1 });
      const ids = tokenizer.encode('▁a▁b</s>▁a');
      assert.equal(stream(tokenizer, ids, true).join(''), 'a b a');
    });

    test(`${name}: equals the whole for random ids`, async (t) => {
      const dir = await directoryWith(t, { 'tokenizer.json': sentencePieceJson(decoder) });
      const tokenizer = await loadTokenizer(dir, { bosId: 1 });
      const random = randomFrom(6);
      for (let i = 0; i < 400; i++) {
        // Either all tokens, or mostly those with blanks and a few bytes.
        const ids =
          i % 2 === 0
            ? randomIds(random, 50, tokenizer.vocabularySize)
            : randomIds(random, 50, 90).map((id) => tokenizer.vocabularySize - 1 - id);
        assertSameAsWhole(tokenizer, ids, i % 4 < 2);
      }
    });
  }
});

test('bytes are text together or not at all, as in the reference', async (t) => {
  const dir = await directoryWith(t, { 'tokenizer.json': sentencePieceJson(llamaDecoder) });
  const tokenizer = await loadTokenizer(dir, { bosId: 1 });
  const byte = (value: number) => 3 + value;
  const [lead, trail] = [byte(0xc3), byte(0xa9)];
  const a = tokenizer.encode('a').at(-1) as number;
  assert.deepEqual(stream(tokenizer, [a, lead, trail, a]), ['a', '', '', 'éa', '']);
  assert.deepEqual(stream(tokenizer, [lead, trail, lead, a]), [
    '',
    '',
    '',
    '\ufffd\ufffd\ufffda',
    '',
  ]);
  assert.deepEqual(stream(tokenizer, [a, lead, trail]), ['a', '', '', 'é']);
  // A character that the text before ends with is not given out again; one that it begins is.
  const after = (before: readonly number[], ids: readonly number[]) => {
    const decoder = new StreamDecoder(tokenizer);
    decoder.follow(before);
    return [...ids.map((id) => decoder.push(id)), decoder.flush()].join('');
  };
  assert.equal(after([a, lead, trail], [a]), 'a');
  assert.equal(after([a, lead], [trail, a]), 'éa');
  assert.equal(after([a, ...Array.from({ length: 10 }, () => [lead, trail]).flat()], [a]), 'a');
});

test('the work per token does not grow with the text', async () => {
  const tokenizer = await loadTokenizer(fixture('stories-opt'));
  const random = randomFrom(7);
  let decoded = 0;
  const counting: Decoding = {
    isSilent: (id, options) => tokenizer.isSilent(id, options),
    isByte: (id) => tokenizer.isByte(id),
    decode(ids, options) {
      decoded += ids.length;
      return tokenizer.decode(ids, options);
    },
  };
  const count = 3000;
  const lone = tokenizer.encode('é')[1] as number;
  const sequences = {
    tokens: randomIds(random, count, 2048),
    bytes: randomIds(random, count, 260),
    'broken bytes only': new Array<number>(count).fill(lone),
    'lead bytes only': new Array<number>(count).fill(tokenizer.encode('é')[0] as number),
    'no token at all': new Array<number>(count).fill(5000),
  };
  for (const [name, ids] of Object.entries(sequences)) {
    decoded = 0;
    const text = stream(counting, ids).join('');
    assert.ok(decoded < 30 * count, `${name}: ${decoded / count} ids decoded per token`);
    assert.equal(text, tokenizer.decode(ids), name);
  }
});
