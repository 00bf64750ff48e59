/** An output that is there: gone on with, whatever was cut off of it, or refused. */

import assert from 'node:assert/strict';
import { linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import type { JournalFile } from '../../src/batch/journal.ts';
import { DiskFullError, InputError } from '../../src/errors.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';
import {
  type BatchFiles,
  batchFiles,
  parseResults,
  RuleEngine,
  request,
  runOnce,
} from './support.ts';

const root = temporaryRoot();
const lines = [
  request('é', 'abc'),
  'rubbish',
  request('b', 'xyz', { n: 2 }),
  request('é', 'again'),
  request('c', 'a longer prompt'),
];
const fresh = () => batchFiles(root.directory(), lines);
const text = (path: string) => readFileSync(path, 'utf8');

/** Results without the time, in the order of their ids. */
const sorted = (path: string) =>
  text(path)
    .replace(/"created":\d+/g, '')
    .trim()
    .split('\n')
    .sort();

async function whole(): Promise<{ files: BatchFiles; output: Buffer; results: string[] }> {
  const files = fresh();
  await runOnce(files);
  return { files, output: readFileSync(files.output), results: sorted(files.output) };
}

/** Takes so many bytes, a few at a time, and fails; a killed process does not even cut off. */
function dying(file: JournalFile, bytes: number, cuts: boolean): JournalFile {
  let left = bytes;
  const write = async (buffer: Uint8Array, offset: number, length: number) => {
    if (left === 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
    const part = Math.min(left, length, 50);
    left -= part;
    return file.write(buffer, offset, part);
  };
  const truncate = (size?: number) => (cuts ? file.truncate(size) : Promise.resolve());
  return { write: write as never, truncate, sync: () => file.sync(), close: () => file.close() };
}

describe('an output', () => {
  it('is gone on with whatever part of it was written', async () => {
    const { output, results } = await whole();
    assert.equal(results.length, lines.length);
    for (let bytes = 0; bytes <= output.length; bytes += 7) {
      const files = fresh();
      writeFileSync(files.output, output.subarray(0, bytes));
      const { before, answered } = await runOnce(files);
      assert.equal(before, output.subarray(0, bytes).toString('latin1').split('\n').length - 1);
      assert.equal(before + answered, lines.length);
      assert.deepEqual(sorted(files.output), results, `after ${bytes} bytes`);
    }
  });

  it('survives a device that takes a part of a result, and loses no line over it', async () => {
    const { output, results } = await whole();
    for (const cuts of [true, false]) {
      for (let bytes = 1; bytes < output.length; bytes += 61) {
        const files = fresh();
        const wrap = (file: JournalFile) => dying(file, bytes, cuts);
        await assert.rejects(runOnce(files, { wrap }), DiskFullError);
        if (cuts) assert.match(text(files.output), /^$|\n$/, 'no half line is left');
        await runOnce(files);
        assert.deepEqual(sorted(files.output), results);
      }
    }
  });

  it('may be joined from the outputs of parts, in any order', async () => {
    const { files, results } = await whole();
    const parts = [lines.slice(0, 3), lines.slice(3, 4), lines.slice(4)];
    const outputs: string[] = [];
    for (const part of parts) {
      const own = batchFiles(root.directory(), part);
      await runOnce(own);
      outputs.unshift(text(own.output));
    }
    // Of the doubled custom_id, the second part knew nothing: its result is that of another line.
    writeFileSync(files.output, outputs.filter((_, i) => i !== 1).join(''));
    const { before, answered } = await runOnce(files);
    assert.deepEqual([before, answered], [4, 1]);
    assert.equal(sorted(files.output).length, results.length);
  });

  it('keeps its results when lines are added to the input, or sorted anew', async () => {
    const { files } = await whole();
    const [first = '', second = '', third = '', double = '', last = ''] = lines;
    const changed = [last, request('new', 'new'), second, third, first];
    writeFileSync(files.input, changed.map((line) => `${line}\n`).join(''));
    // The double is gone from the input, its result is not.
    await assert.rejects(runOnce(files), /line \d answers no request of/);
    const kept = text(files.output)
      .split('\n')
      .filter((line) => !line.includes('duplicate_custom_id'));
    writeFileSync(files.output, kept.join('\n'));
    assert.deepEqual(
      await runOnce(files).then(({ before, answered }) => [before, answered]),
      [4, 1],
    );
    assert.notEqual(double, '');
  });
});

describe('an output is refused, and left as it is,', () => {
  const refuse = async (files: BatchFiles, says: RegExp, engine?: RuleEngine) => {
    const found = readFileSync(files.output);
    await assert.rejects(runOnce(files, engine ? { engine } : {}), (error: InputError) => {
      assert.ok(error instanceof InputError, `${error}`);
      assert.match(error.line, says);
      return true;
    });
    assert.deepEqual(readFileSync(files.output), found);
  };

  it('when its lines are no results', async () => {
    const { output } = await whole();
    const foreign = [
      'hello\n',
      'hello',
      '{"id":"batch_req_',
      '{"id":1}\n',
      `${output}[]\n`,
      `${output}{"id":"x`,
      `{"id":"batch_req_123"}\n${output}`,
    ];
    for (const content of foreign) {
      const files = fresh();
      writeFileSync(files.output, content);
      if (content === '{"id":"batch_req_') await runOnce(files);
      else await refuse(files, /out\.jsonl: line \d is not the result of a batch. Give another/);
    }
  });

  it('when they answer other lines', async () => {
    const { files } = await whole();
    const other = batchFiles(root.directory(), [request('other', 'x')]);
    await runOnce(other);
    writeFileSync(other.input, text(files.input));
    await refuse(other, /line 1 \(custom_id "other"\) answers no request of .*in\.jsonl/);
  });

  it('when what they answer was changed', async () => {
    const { files } = await whole();
    writeFileSync(files.input, text(files.input).replace('a longer prompt', 'another'));
    await refuse(
      files,
      /line \d \(custom_id "c"\) answers a request that differs from the one in .* with the same custom_id/,
    );
  });

  it('when one line is answered twice', async () => {
    const { files, output } = await whole();
    writeFileSync(files.output, `${output}${output}`);
    await refuse(files, /line 6.* answers the same request as an earlier line/);
  });

  it('when another model answered', async () => {
    const { files } = await whole();
    await refuse(files, /was made with another model/, new RuleEngine('fp_other'));
  });

  it('when it is the input, by whatever name', async () => {
    const files = fresh();
    linkSync(files.input, files.output);
    await refuse(files, /is also the input file/);
    await refuse({ ...files, output: files.input }, /is also the input file/);
  });

  it('when it is no file, or there is no place for it', async () => {
    const files = fresh();
    mkdirSync(files.output);
    await assert.rejects(runOnce(files), /is a directory, not a file/);
    const nowhere = join(dirname(files.input), 'nowhere', 'out.jsonl');
    await assert.rejects(runOnce({ ...files, output: nowhere }), /directory does not exist/);
  });

  it('while somebody else writes to it, by whatever name', async () => {
    const files = fresh();
    writeFileSync(files.output, '');
    const alias = join(dirname(files.input), 'alias.jsonl');
    symlinkSync(files.output, alias);
    const engine = new RuleEngine();
    engine.before = async () => {
      if (engine.calls.length > 1) return;
      for (const output of [files.output, alias]) {
        const second = runOnce({ ...files, output });
        await assert.rejects(second, /is being written by process \d+/);
      }
    };
    const { answered } = await runOnce(files, { engine });
    assert.equal(answered, lines.length);
    assert.equal(parseResults(text(files.output)).length, lines.length);
    assertEntries(dirname(files.input), ['in.jsonl', 'out.jsonl', 'alias.jsonl']);
  });
});
