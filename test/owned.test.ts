/** Whose an entry is, whether its process lives, and who goes first. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import { recoverModel } from '../src/convert/output-directory.ts';
import { InputError } from '../src/errors.ts';
import { claim, keepClaim, ownedBeside, ownedName, sweepBeside } from '../src/owned.ts';
import { assertEntries, temporaryRoot } from './support/temporary.ts';

const root = temporaryRoot();
/** A name of ours, taken apart: `.partial-`, number, start, machine, boot, random digits. */
const parts = (name: string) =>
  /^(.*\.[a-z]+-)(\d+)-(\d+)-(\w{6})(\w{6})-(\w{16})$/.exec(name) ?? [];

/** A name as this process makes it, with some of its parts changed. */
function nameWith(
  base: string,
  change: { pid?: number; start?: string; machine?: string; boot?: string },
) {
  const [, head = '', pid = '', start = '', machine = '', boot = '', nonce = ''] = parts(
    ownedName(base, 'partial'),
  );
  const owner = { pid, start, machine, boot, ...change };
  return `${head}${owner.pid}-${owner.start}-${owner.machine}${owner.boot}-${nonce}`;
}

const aliveAt = async (base: string, path: string) => {
  await writeFile(path, '');
  return (await ownedBeside(base, ['partial'])).find((entry) => entry.path === path)?.alive;
};

describe('a process', () => {
  const linux = process.platform === 'linux' ? {} : { skip: 'nobody tells when processes began' };

  it('lives while it runs, and not afterwards', async () => {
    const base = join(root.directory(), 'model');
    assert.equal(await aliveAt(base, ownedName(base, 'partial')), true);
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    assert.equal(await aliveAt(base, nameWith(base, { pid: child.pid ?? 0 })), false);
  });

  it('is not another that was given its number', linux, async () => {
    const base = join(root.directory(), 'model');
    assert.equal(await aliveAt(base, nameWith(base, { start: '1' })), false);
    assert.equal(await aliveAt(base, nameWith(base, { pid: process.ppid })), false);
    assert.equal(await aliveAt(base, nameWith(base, { boot: 'ffffff' })), false);
  });

  it('that was killed and not yet waited for is dead', linux, async () => {
    const base = join(root.directory(), 'model');
    // The shell's child ends at once, and the shell waits for something else.
    const shell = spawn('sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 5']);
    try {
      const [line] = (await once(shell.stdout, 'data')) as [Buffer];
      const pid = Number(`${line}`);
      const stat = () => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ');
      const start = stat()[21] ?? '';
      while (stat()[2] !== 'Z') await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(await aliveAt(base, nameWith(base, { pid, start })), false);
    } finally {
      shell.kill('SIGKILL');
    }
  });

  it('of another machine lives as long as it touches what it made', async () => {
    const base = join(root.directory(), 'model');
    const path = nameWith(base, { machine: 'ffffff', pid: 1 });
    assert.equal(await aliveAt(base, path), true);
    const old = new Date(Date.now() - 3_600_000);
    utimesSync(path, old, old);
    assert.equal((await ownedBeside(base, ['partial']))[0]?.alive, false);
  });
});

test('sweeping takes what dead processes left, and nothing else', async () => {
  const dir = root.directory();
  const base = join(dir, 'model');
  const dead = nameWith(base, { pid: 999_999_999 });
  mkdirSync(dead);
  writeFileSync(join(dead, 'half'), '');
  mkdirSync(`${base}.partial-999999999`); // of an earlier version
  const kept = [
    ownedName(base, 'partial'),
    ...[`${base}.partial-`, `${base}.partial-1x`, `${base}.partial-old`, `${base}.partial-5.zip`],
    ...[
      `${base}.partial`,
      `${base}2.partial-999999999`,
      `${base}.replaced-999999999`,
      `${base}-999999999`,
    ],
    `${base}.partial-999999999-1`,
  ];
  for (const path of kept) writeFileSync(path, '');
  await sweepBeside(base, ['partial']);
  assertEntries(
    dir,
    kept.map((path) => path.slice(dir.length + 1)),
  );
});

test('of those who come at the same time, one goes first and the others name it', async () => {
  for (let round = 0; round < 5; round++) {
    const dir = root.directory();
    const base = join(dir, 'model');
    const busy = (pid: number) => new InputError(`busy with ${pid}`);
    const make = async (path: string) => {
      await mkdir(path);
    };
    const ended = await Promise.allSettled(
      Array.from({ length: 4 }, () => claim(base, ['partial'], make, busy)),
    );
    const won = ended.filter(({ status }) => status === 'fulfilled');
    assert.ok(won.length <= 1, `${won.length} won`);
    assert.equal(readdirSync(dir).length, won.length);
    for (const result of ended) {
      if (result.status === 'rejected') assert.match(`${result.reason}`, /busy with \d+/);
    }
  }
});

test('a claim is gone when it is given up', async () => {
  const dir = root.directory();
  const path = ownedName(join(dir, 'predict-train'), 'running');
  writeFileSync(path, '');
  keepClaim(path)();
  assertEntries(dir, []);
});

describe('a model that was being replaced by a process that is dead', () => {
  const dead = (base: string, kind: string) =>
    `${base}.${kind}-999999999-1-000000000000-0123456789abcdef`;

  it('gets its name back when nothing has it', async () => {
    const dir = root.directory();
    const base = join(dir, 'model');
    const own = ownedName(base, 'replaced').replace(/-\d+-\d+-/, '-999999999-1-');
    mkdirSync(own);
    writeFileSync(join(own, 'flash.json'), 'old');
    mkdirSync(`${base}.partial-999999999`);
    await recoverModel(base);
    assertEntries(dir, ['model']);
    assert.equal(readFileSync(join(base, 'flash.json'), 'utf8'), 'old');
  });

  it('is removed when its successor is there', async () => {
    const dir = root.directory();
    const base = join(dir, 'model');
    mkdirSync(base);
    mkdirSync(`${base}.replaced-999999999`);
    await recoverModel(base);
    assertEntries(dir, ['model']);
  });

  it('stays aside while nobody knows whether it is dead', async () => {
    const dir = root.directory();
    const base = join(dir, 'model');
    mkdirSync(dead(base, 'replaced')); // of another machine, and fresh
    await recoverModel(base);
    assert.equal(readdirSync(dir).length, 1);
  });
});
