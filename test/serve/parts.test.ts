/** Parts of a server by themselves: its queue, its sequences, and what calls of tools look like. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ToolCallReader, type ToolFormat, toolFormatOf } from '../../src/chat/tool-calls.ts';
import type { Sequence } from '../../src/engine/sequence.ts';
import { InterruptedError } from '../../src/errors.ts';
import { ChatAssembler } from '../../src/openai/chat-assembler.ts';
import { Refusal } from '../../src/openai/refusal.ts';
import { JobQueue } from '../../src/serve/job-queue.ts';
import { SequencePool } from '../../src/serve/sequence-pool.ts';

const never = new AbortController().signal;

describe('the queue', () => {
  it('runs so many jobs at once, in the order in which they came', async () => {
    const queue = new JobQueue(2, 8);
    const begun: number[] = [];
    let most = 0;
    const jobs = Array.from({ length: 6 }, (_, each) =>
      queue.run(async () => {
        begun.push(each);
        most = Math.max(most, queue.running);
        await new Promise(setImmediate);
        return each;
      }, never),
    );
    assert.deepEqual(await Promise.all(jobs), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(begun, [0, 1, 2, 3, 4, 5]);
    assert.equal(most, 2);
    assert.deepEqual([queue.running, queue.waiting], [0, 0]);
  });

  it('goes on behind a job that fails, and lets go of one that is given up', async () => {
    const queue = new JobQueue(1, 8);
    const failing = queue.run(() => Promise.reject(new Error('it failed')), never);
    const leave = new AbortController();
    const leaving = queue.run(async () => 'never', leave.signal);
    const last = queue.run(async () => 'last', never);
    leave.abort();
    await assert.rejects(failing, /it failed/);
    await assert.rejects(leaving, InterruptedError);
    assert.equal(await last, 'last');
    await assert.rejects(
      queue.run(async () => 1, leave.signal),
      InterruptedError,
    );
  });

  it('refuses one request too many, and says when to come again', () => {
    const queue = new JobQueue(1, 1);
    const leave = queue.admit();
    queue.admit();
    assert.throws(
      () => queue.admit(),
      (error) =>
        error instanceof Refusal && error.status === 429 && error.headers['retry-after'] === '2',
    );
    leave();
    leave();
    queue.admit();
    assert.throws(() => queue.admit(), Refusal);
  });
});

/** A sequence without a model. */
class Ids {
  ids: number[];
  closed = false;

  constructor(ids: readonly number[]) {
    this.ids = [...ids];
  }

  get length(): number {
    return this.ids.length;
  }

  rewind(length: number): void {
    this.ids.length = Math.min(this.ids.length, length);
  }

  fork(): Ids {
    return new Ids(this.ids);
  }

  close(): void {
    this.closed = true;
  }
}

describe('sequences that are kept', () => {
  const opened: Ids[] = [];
  const pool = (most: number) =>
    new SequencePool(
      {
        sequence: () => {
          opened.push(new Ids([]));
          return opened.at(-1) as unknown as Sequence;
        },
      },
      most,
    );
  /** Answers a prompt with 7 and 7. @returns positions that were kept, and the sequence */
  const use = (from: SequencePool, prompt: readonly number[]): [number, Ids] => {
    const lease = from.take(prompt);
    const ids = lease.sequence as unknown as Ids;
    ids.ids.push(...prompt.slice(lease.reused), 7, 7);
    from.giveBack(lease, prompt);
    return [lease.reused, ids];
  };

  it('go to the prompt that goes on with them', () => {
    const kept = pool(2);
    const [none, first] = use(kept, [1, 2, 3]);
    const [some, second] = use(kept, [1, 2, 3, 7, 7, 4]);
    assert.deepEqual([none, some], [0, 5]);
    assert.equal(second, first);
  });

  it('are copied where another conversation has the same beginning', () => {
    const kept = pool(2);
    const [, first] = use(kept, [1, 2, 3, 4, 5]);
    const [reused, second] = use(kept, [1, 2, 9]);
    assert.equal(reused, 2);
    assert.notEqual(second, first);
    assert.deepEqual(first.ids, [1, 2, 3, 4, 5, 7, 7]);
    // And the first conversation goes on as if nothing had been.
    assert.equal(use(kept, [1, 2, 3, 4, 5, 7, 7, 8])[0], 7);
  });

  it('are given up in the order in which they were used', () => {
    const kept = pool(2);
    const [, a] = use(kept, [1, 1]);
    const [, b] = use(kept, [2, 2]);
    use(kept, [1, 1, 7, 7, 3]);
    const [, c] = use(kept, [3, 3]);
    assert.deepEqual([a.closed, b.closed, c.closed], [false, true, false]);
  });

  it('compute the last token of a prompt anew, as its logits are wanted', () => {
    const kept = pool(1);
    use(kept, [1, 2, 3]);
    assert.equal(use(kept, [1, 2, 3])[0], 2);
  });

  it('are shared by answers to the same prompt', () => {
    const kept = pool(3);
    use(kept, [5, 6]);
    const one = kept.take([5, 6, 7, 7, 1], true);
    const two = kept.take([5, 6, 7, 7, 1], false);
    assert.deepEqual([one.reused, two.reused], [4, 4]);
    assert.notEqual(one.sequence, two.sequence);
  });
});

describe('calls of tools', () => {
  const cases: readonly (readonly [ToolFormat, string, string, readonly string[]])[] = [
    ['hermes', 'No call.', 'No call.', []],
    ['hermes', 'Wait <tool', 'Wait <tool', []],
    [
      'hermes',
      'I look.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>',
      'I look.',
      ['f {"a":1}', 'g {}'],
    ],
    ['hermes', '{"name": "f", "arguments": {"a": 1}}', '', ['f {"a":1}']],
    ['hermes', '{"name": "unknown", "arguments": {}}', '{"name": "unknown", "arguments": {}}', []],
    ['hermes', '<tool_call>\n{"name": "f", "argu', '<tool_call>\n{"name": "f", "argu', []],
    ['mistral', '[TOOL_CALLS][{"name": "f", "arguments": {"a": "[x]"}}]', '', ['f {"a":"[x]"}']],
    ['mistral-args', '[TOOL_CALLS]f[ARGS]{"a": 1}', '', ['f {"a":1}']],
    ['llama', '{"name": "f", "parameters": {"a": 1}}', '', ['f {"a":1}']],
    ['llama', '<|python_tag|>{"name": "f", "parameters": {}}', '', ['f {}']],
    ['llama', '{"some": "json"}', '{"some": "json"}', []],
    ['llama', 'A {"name": "f"} in a text', 'A {"name": "f"} in a text', []],
  ];
  for (const [format, written, text, calls] of cases) {
    it(`${format}: ${written.slice(0, 50).replaceAll('\n', ' ')}`, () => {
      // Whole, and in pieces of every length.
      for (let length = 1; length <= written.length; length++) {
        const reader = new ToolCallReader(format, ['f', 'g']);
        let said = '';
        for (let at = 0; at < written.length; at += length) {
          said += reader.push(written.slice(at, at + length));
        }
        const end = reader.finish();
        assert.equal((said + end.text).trimEnd(), text);
        assert.deepEqual(
          end.calls.map((call) => `${call.name} ${call.arguments}`),
          calls,
        );
      }
    });
  }

  it('are known by what a template shows', () => {
    assert.equal(toolFormatOf('{% if tools %}<tool_call>'), 'hermes');
    assert.equal(toolFormatOf('{% if tools %}<tool_call><function='), null);
    assert.equal(toolFormatOf('{% if tools %}[TOOL_CALLS]'), 'mistral');
    assert.equal(toolFormatOf('{% if tools %}[TOOL_CALLS][ARGS]'), 'mistral-args');
    assert.equal(toolFormatOf('{{ tools }} ipython {"name": "x", "parameters": {}}'), 'llama');
    assert.equal(toolFormatOf('{{ messages }}'), null);
  });
});

describe('thoughts', () => {
  it('are told apart from what is said, with or without their beginning in the prompt', () => {
    for (const [prompt, written] of [
      ['<think>\n', 'It is\n</think>\n\nYes.'],
      ['', '<think>\nIt is\n</think>\n\nYes.'],
    ] as const) {
      const options = { prompt, toolFormat: null, toolNames: [], thinks: true };
      const assembler = new ChatAssembler(options);
      const deltas = [
        ...[...written].flatMap((char) => assembler.push(char)),
        ...assembler.finish(),
      ];
      assert.deepEqual([assembler.reasoning, assembler.content], ['It is\n', 'Yes.']);
      assert.equal(deltas.map(({ content = '' }) => content).join(''), 'Yes.');
      assert.equal(deltas.map((delta) => delta.reasoning_content ?? '').join(''), 'It is\n');
    }
  });
});
