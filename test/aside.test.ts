/** Files that are made: new, private until they are whole, and never through somebody's link. */

import assert from 'node:assert/strict';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import {
  createFile,
  isReplaceable,
  recreateFileSync,
  writeAside,
  writeNewFile,
} from '../src/aside.ts';
import { InputError, withNothingLeft, writeError } from '../src/errors.ts';
import { ownedName } from '../src/owned.ts';
import { assertEntries, temporaryRoot } from './support/temporary.ts';
import { withTmpfs } from './support/tmpfs.ts';

const root = temporaryRoot();
const posix = process.platform === 'win32' ? { skip: 'no links and modes here' } : {};

test('nothing that lies in wait at a name is opened', posix, async () => {
  const dir = root.directory();
  const victim = join(dir, 'victim');
  writeFileSync(victim, 'precious');
  const traps = { link: victim, dangling: join(dir, 'nowhere') };
  for (const [name, target] of Object.entries(traps)) {
    symlinkSync(target, join(dir, name));
    await assert.rejects(createFile(join(dir, name)), { code: 'EEXIST' });
    await assert.rejects(writeNewFile(join(dir, name), 'x'), { code: 'EEXIST' });
  }
  await assert.rejects(createFile(victim), { code: 'EEXIST' });
  recreateFileSync(join(dir, 'link'));
  assert.equal(readFileSync(victim, 'utf8'), 'precious');
  assert.equal(statSync(join(dir, 'link')).mode & 0o777, 0o600);
  assertEntries(dir, ['victim', 'link', 'dangling']);
});

test('names cannot be guessed', () => {
  const names = new Set(Array.from({ length: 100 }, () => ownedName('model', 'partial')));
  assert.equal(names.size, 100);
  for (const name of names)
    assert.match(name, /^model\.partial-\d+-\d+-[0-9a-f]{12}-[0-9a-f]{16}$/);
});

describe('a file that is written aside', () => {
  it('is private while it is written, and then what it was, or any file', posix, async () => {
    const dir = root.directory();
    const target = join(dir, 'chart.html');
    const write = (content: string) =>
      writeAside(target, async (file) => {
        const [name = ''] = readdirSync(dir).filter((entry) => entry !== 'chart.html');
        assert.match(name, /^chart\.html\.partial-/);
        assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600);
        await file.writeFile(content);
      });
    await write('one');
    assert.equal(statSync(target).mode & 0o777, 0o666 & ~process.umask());
    writeFileSync(join(dir, 'other'), '', { mode: 0o640 });
    const other = join(dir, 'other');
    await writeAside(other, (file) => file.writeFile('two'));
    assert.equal(statSync(other).mode & 0o777, 0o640);
    assertEntries(dir, ['chart.html', 'other']);
  });

  it('takes the place of a link, not of what it leads to', posix, async () => {
    const dir = root.directory();
    writeFileSync(join(dir, 'victim'), 'precious');
    symlinkSync(join(dir, 'victim'), join(dir, 'target'));
    assert.equal(await isReplaceable(join(dir, 'target')), false);
    await writeAside(join(dir, 'target'), (file) => file.writeFile('new'));
    assert.equal(readFileSync(join(dir, 'victim'), 'utf8'), 'precious');
    assert.equal(readFileSync(join(dir, 'target'), 'utf8'), 'new');
  });

  it('leaves what was there when it fails, and nothing else', async () => {
    const dir = root.directory();
    const target = join(dir, 'predictors.safetensors');
    writeFileSync(target, 'old');
    const failing = writeAside(target, async (file) => {
      await file.writeFile('half');
      throw new Error('no more');
    });
    await assert.rejects(failing, /no more/);
    assert.equal(readFileSync(target, 'utf8'), 'old');
    assertEntries(dir, ['predictors.safetensors']);
  });

  it('sweeps what a killed process left of it', async () => {
    const dir = root.directory();
    const target = join(dir, 'devices.json');
    writeFileSync(`${target}.partial-999999999`, 'left');
    writeFileSync(`${target}.partial-notes`, 'mine');
    await writeAside(target, (file) => file.writeFile('{}'));
    assertEntries(dir, ['devices.json', 'devices.json.partial-notes']);
  });

  it('on a full disk, says that nothing was left, which is so', async (t) => {
    const dir = root.directory();
    await withTmpfs(t, dir, 'size=64k', async () => {
      const target = join(dir, 'chart.svg');
      writeFileSync(target, 'old');
      const error = await writeAside(target, (file) => file.writeFile(Buffer.alloc(100_000))).then(
        () => assert.fail('the disk is full'),
        (cause: unknown) => withNothingLeft(writeError(cause, target)),
      );
      assert.ok(error instanceof InputError);
      assert.equal(error.message, 'the disk is full; nothing was left behind');
      assertEntries(dir, ['chart.svg']);
      assert.equal(readFileSync(target, 'utf8'), 'old');
    });
  });
});

test('only who has removed everything says so', () => {
  const full = writeError(Object.assign(new Error('no space'), { code: 'ENOSPC' }), 'model');
  assert.equal(full.message, 'the disk is full');
  assert.equal(
    (withNothingLeft(full) as Error).message,
    'the disk is full; nothing was left behind',
  );
  const other = new Error('other');
  assert.equal(withNothingLeft(other), other);
});

test('devices and pipes are written to as they are', posix, async () => {
  assert.equal(await isReplaceable('/dev/null'), false);
  const dir = root.directory();
  assert.equal(await isReplaceable(join(dir, 'new')), true);
  mkdirSync(join(dir, 'sub'));
  assert.equal(await isReplaceable(join(dir, 'sub')), false, 'writing to it fails by name');
});
