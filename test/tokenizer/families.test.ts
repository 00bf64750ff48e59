/** Tokenizers of the kinds that published families have, against the reference implementation. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { StreamDecoder } from '../../src/tokenizer/stream-decoder.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';

const root = fileURLToPath(new URL('../../fixtures/tokenizers/', import.meta.url));

interface Case {
  readonly text: string;
  readonly ids: number[];
  readonly prompt: number[];
  readonly decoded: string;
}

for (const name of readdirSync(root)) {
  const dir = join(root, name);
  if (!statSync(dir).isDirectory()) continue;
  test(`${name}: ids and texts are those of the reference`, async () => {
    const tokenizer = await loadTokenizer(dir, {});
    const cases = JSON.parse(readFileSync(join(dir, 'cases.json'), 'utf8')) as Case[];
    assert.ok(cases.length > 10);
    for (const { text, ids, prompt, decoded } of cases) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
      assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(text));
      // Whatever of it came before, the rest is streamed with its blanks.
      const half = ids.length >> 1;
      const whole = tokenizer.decode(ids.slice(0, half));
      const decoder = new StreamDecoder(tokenizer);
      decoder.follow(ids.slice(0, half));
      const rest =
        ids
          .slice(half)
          .map((id) => decoder.push(id))
          .join('') + decoder.flush();
      if (!whole.endsWith('\ufffd')) assert.equal(whole + rest, decoded, JSON.stringify(text));
      if (prompt.length > ids.length) assert.deepEqual(tokenizer.encodePrompt(text), prompt);
    }
  });
}
