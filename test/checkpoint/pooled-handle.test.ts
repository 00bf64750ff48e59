/** Many files of which few are open. */

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { CheckpointFile } from '../../src/checkpoint/file.ts';
import { InputError } from '../../src/errors.ts';
import { forEachParallel } from '../../src/parallel.ts';

const dir = mkdtempSync(join(tmpdir(), 'flashllm-handles-'));
after(() => rmSync(dir, { recursive: true }));

/** Files that this process has open, or null where nobody tells. */
function openFiles(): number | null {
  return existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').length : null;
}

async function openMany(count: number): Promise<CheckpointFile[]> {
  const files: CheckpointFile[] = [];
  for (let i = 0; i < count; i++) {
    const path = join(dir, `${i}.bin`);
    writeFileSync(path, `file ${i}`);
    files.push(await CheckpointFile.open(path));
  }
  return files;
}

async function textOf(file: CheckpointFile): Promise<string> {
  const bytes = new Uint8Array(file.size);
  await file.read(0, bytes);
  return Buffer.from(bytes).toString();
}

test('all can be read, again and at once, while few are open', async () => {
  const before = openFiles();
  const files = await openMany(100);
  try {
    let most = 0;
    const twice = [...files.keys(), ...files.keys()];
    await forEachParallel(twice, 8, async (index) => {
      assert.equal(await textOf(files[index] as CheckpointFile), `file ${index}`);
      most = Math.max(most, openFiles() ?? 0);
    });
    assert.ok(before === null || most <= before + 40, `${most} files, ${before} before`);
    await textOf(files[0] as CheckpointFile);
    const now = openFiles() ?? 0;
    assert.ok(before === null || now <= before + 20, `${now} files, ${before} before`);
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
  assert.ok(before === null || (openFiles() ?? 0) <= before);
});

test('a file that has taken the place of another is not read for it', async () => {
  const files = await openMany(40);
  try {
    const [first] = files as [CheckpointFile];
    writeFileSync(join(dir, 'other'), 'another text');
    renameSync(join(dir, 'other'), first.path);
    await assert.rejects(
      textOf(first),
      (error) =>
        error instanceof InputError &&
        /0\.bin: was changed by another program while it was read/.test(error.line),
    );
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
});
