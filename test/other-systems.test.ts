/** What is otherwise on Windows and macOS, where these tests may never run: simulated. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { syncPath, writeAside, writeNewFile } from '../src/aside.ts';
import { OutputDirectory } from '../src/convert/output-directory.ts';
import { type FlashError, writeError } from '../src/errors.ts';
import { manifestFile } from '../src/flash/manifest.ts';
import { pageCacheHint } from '../src/flash/page-cache.ts';
import { ensureProfile } from '../src/flash/probe-file.ts';
import { PartialDirectory } from '../src/hub/partial-directory.ts';
import { removeEntry, renameEntry } from '../src/moving-files.ts';
import { ownedBeside, ownedName, type Processes } from '../src/owned.ts';
import { freeMemory } from '../src/plan/free-memory.ts';
import { FakeDisk, systemError } from './support/fake-disk.ts';
import { assertEntries, temporaryRoot } from './support/temporary.ts';
import { windowsFiles } from './support/windows-files.ts';

const root = temporaryRoot();
const linux = process.platform === 'linux' ? {} : { skip: 'what is open is told by /proc' };

describe('on Windows, an entry that somebody has open', linux, () => {
  it('is renamed and removed as soon as it is let go', async () => {
    const dir = root.directory();
    writeFileSync(join(dir, 'new'), 'new');
    writeFileSync(join(dir, 'old'), 'old');
    const files = windowsFiles(3, 'EBUSY');
    await renameEntry(join(dir, 'new'), join(dir, 'old'), files);
    assert.equal(readFileSync(join(dir, 'old'), 'utf8'), 'new');
    assert.deepEqual(files.pauses, [10, 20, 40]);
    await removeEntry(join(dir, 'old'), windowsFiles(2, 'EACCES'));
    await writeAside(join(dir, 'chart'), (file) => file.writeFile('whole'), windowsFiles(4));
    assert.equal(readFileSync(join(dir, 'chart'), 'utf8'), 'whole');
    assertEntries(dir, ['chart']);
  });

  it('is given up after some seconds, with the way out, and nothing is left behind', async () => {
    const dir = root.directory();
    const target = join(dir, 'chart');
    writeFileSync(target, 'old');
    const reader = await open(target);
    const files = windowsFiles();
    try {
      const written = writeAside(target, (file) => file.writeFile('new'), files);
      await assert.rejects(written, { code: 'EPERM' });
    } finally {
      await reader.close();
    }
    const waited = files.pauses.reduce((sum, ms) => sum + ms, 0);
    assert.ok(waited > 1000 && waited < 5000, `${waited} ms`);
    assert.equal(readFileSync(target, 'utf8'), 'old');
    assertEntries(dir, ['chart']);
    const told = (platform: NodeJS.Platform) =>
      writeError(systemError('EPERM'), 'x', platform).line;
    assert.match(told('win32'), /Another program may have it open/);
    assert.doesNotMatch(told('linux'), /Another program/);
  });

  it('is not waited for elsewhere, nor what will not pass', async () => {
    const other = { ...windowsFiles(1), platform: 'linux' as const };
    await assert.rejects(renameEntry('a', 'b', other), { code: 'EPERM' });
    const missing = windowsFiles();
    await assert.rejects(renameEntry(join(root.path, 'none'), 'b', missing), { code: 'ENOENT' });
    assert.deepEqual([...other.pauses, ...missing.pauses], []);
  });

  it('is not one of ours when a download is whole', async () => {
    const target = join(root.directory(), 'model');
    const partial = await PartialDirectory.open(target);
    const content = Buffer.from('{}');
    const digest = createHash('sha256').update(content).digest('hex');
    const hash = { kind: 'sha256', digest } as const;
    const wanted = { name: 'config.json', path: 'config.json', bytes: content.length, hash };
    try {
      const part = await partial.begin(wanted);
      await part.write(content, 0);
      assert.equal(await part.finish(new AbortController().signal, () => {}), null);
      await partial.commit(windowsFiles());
    } finally {
      await partial.close();
    }
    assertEntries(target, ['config.json']);
  });

  it('is not one of ours when a model is replaced; a stranger in its place is told', async () => {
    const target = join(root.directory(), 'model');
    const write = async (text: string, force: boolean, before = async () => {}) => {
      const directory = await OutputDirectory.create(target, 0, force);
      await writeNewFile(join(directory.path, manifestFile), text);
      await before();
      await directory.commit(windowsFiles()).catch(async (error: unknown) => {
        await directory.abandon();
        throw error;
      });
    };
    await write('one', false);
    await write('two', true);
    assert.equal(readFileSync(join(target, manifestFile), 'utf8'), 'two');
    assertEntries(join(target, '..'), ['model']);
    await removeEntry(target);
    const meanwhile = async () => {
      mkdirSync(target);
    };
    await assert.rejects(write('three', false, meanwhile), (error: FlashError) =>
      /another process created it meanwhile/.test(error.line),
    );
    assertEntries(join(target, '..'), ['model']);
  });
});

describe('on Windows, a file', () => {
  it('is opened for writing to be flushed; a directory cannot be, and is left alone', async () => {
    const opened: string[] = [];
    let synced = 0;
    /** Flushes what is open for writing, and opens no directory so. */
    const windows = async (path: string, flags: string) => {
      opened.push(flags);
      if (flags === 'r+' && statSync(path).isDirectory()) throw systemError('EISDIR');
      return {
        async sync() {
          if (flags !== 'r+') throw systemError('EPERM');
          synced++;
        },
        async close() {},
      };
    };
    const file = join(root.directory(), 'config.json');
    writeFileSync(file, '{}');
    await syncPath(file, 'win32', windows);
    await syncPath(join(file, '..'), 'win32', windows);
    assert.deepEqual({ opened, synced }, { opened: ['r+', 'r+'], synced: 1 });
  });
});

describe('where nobody tells when processes began', () => {
  const untold = (bootedMs: number): Processes => ({
    startOf: () => null,
    answers: () => true,
    bootedMs: () => bootedMs,
  });

  it('an entry from before the machine was started belongs to nobody', async () => {
    const base = join(root.directory(), 'model');
    const path = ownedName(base, 'running').replace(`-${process.pid}-`, `-${process.ppid}-`);
    writeFileSync(path, '');
    const minute = 60_000;
    const isAlive = async (bootedMs: number) =>
      (await ownedBeside(base, ['running'], untold(bootedMs))).map(({ alive }) => alive);
    assert.deepEqual(await isAlive(Date.now() - minute), [true]);
    const hour = 60 * minute;
    utimesSync(path, new Date(Date.now() - hour), new Date(Date.now() - hour));
    assert.deepEqual(await isAlive(Date.now() - minute), [false]);
    assert.deepEqual(await isAlive(Date.now() - 2 * hour), [true]);
  });
});

describe('memory', () => {
  const vmStat = `Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               61996.
Pages active:                            377515.
Pages inactive:                          377102.
Pages speculative:                         1000.
Pages throttled:                              0.
Pages wired down:                        120511.
Pages purgeable:                            500.
"Translation faults":                 498327712.
`;
  const on = (platform: NodeJS.Platform, text: string) =>
    freeMemory({ platform, free: () => 100 * 2 ** 20, vmStat: () => text });

  it('of a Mac is what can be reclaimed, not what is unused', () => {
    assert.equal(on('darwin', vmStat), (61996 + 377102 + 1000 + 500) * 16384);
  });

  it('is what Node tells where vm_stat says nothing, and elsewhere', () => {
    assert.equal(on('darwin', ''), 100 * 2 ** 20);
    assert.equal(on('win32', vmStat), 100 * 2 ** 20);
  });
});

describe('without direct I/O', () => {
  it('what is said of the page cache names the system', () => {
    assert.match(pageCacheHint('darwin', false), /no direct I\/O on macOS/);
    assert.match(pageCacheHint('win32', true), /no direct I\/O on Windows/);
    assert.match(pageCacheHint('linux', true), /FLASHLLM_DIRECT_IO=0/);
    assert.match(pageCacheHint('linux', false), /ext4/);
  });

  it('no device is measured unasked, as a file that was just written comes from memory', async () => {
    const dir = root.directory();
    writeFileSync(join(dir, 'bundles.safetensors'), '');
    // Sparse: only its size counts.
    const file = await open(join(dir, 'bundles.safetensors'), 'r+');
    await file.truncate(128 * 2 ** 20);
    await file.close();
    process.env.FLASHLLM_CACHE = join(dir, 'cache');
    let probes = 0;
    const ensured = (direct: boolean) =>
      ensureProfile(dir, () => probes++, new FakeDisk(2 ** 21, { direct }));
    assert.equal((await ensured(false)).source, 'default');
    assert.deepEqual([probes, existsSync(join(dir, 'cache'))], [0, false]);
    assert.equal((await ensured(true)).source, 'measured');
    assert.equal(probes, 1);
  });
});

describe('sources', () => {
  const project = fileURLToPath(new URL('..', import.meta.url));

  it('rename and remove in one place alone, which knows Windows', () => {
    const files = readdirSync(join(project, 'src'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name));
    assert.ok(files.length > 300);
    const direct = files.filter((file) => {
      const text = readFileSync(file, 'utf8');
      const [, names = ''] = /import \{([^}]*)\} from 'node:fs\/promises'/.exec(text) ?? [];
      return /\b(rename|rm|unlink)\b/.test(names) || /\b(renameSync|unlinkSync)\b/.test(text);
    });
    assert.deepEqual(
      direct.map((file) => relative(project, file)),
      [join('src', 'moving-files.ts')],
    );
  });

  it('keep their line ends where git would change them', () => {
    const rules = readFileSync(join(project, '.gitattributes'), 'utf8');
    assert.match(rules, /^\* -text$/m);
  });
});
