/** Downloads from a hub that keeps to its API: what is asked for, what comes, where it ends up. */

import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { inspectCheckpoint } from '../../src/convert/inspect-checkpoint.ts';
import { DiskFullError, InputError } from '../../src/errors.ts';
import { examineOnHub } from '../../src/hub/hub-model.ts';
import { type PullRequest, pullModel } from '../../src/hub/pull.ts';
import { changeTensors, writeShards } from '../support/checkpoint.ts';
import { ggufFixtures, storiesOpt, storiesOptBin } from '../support/fixtures.ts';
import { splitGguf } from '../support/gguf-split.ts';
import { commit, FakeHub } from '../support/hub.ts';
import { readSafetensors } from '../support/safetensors.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';
import { withTmpfs } from '../support/tmpfs.ts';

const root = temporaryRoot();
const hub = new FakeHub();
const gguf = readFileSync(join(ggufFixtures, 'llama/model.gguf'));
const split = splitGguf(gguf, 'some-Q2_K', 3);
const stories = 'owner/stories';

const pull = (model: string, more: Partial<PullRequest> = {}) =>
  pullModel({ model, directory: join(root.directory(), 'to'), address: hub.address(), ...more });
const rejects = (work: Promise<unknown>, pattern: RegExp, kind = InputError) =>
  assert.rejects(work, (error: Error) => {
    assert.ok(error instanceof kind, `${error.name}: ${error.message}`);
    assert.match(error.line, pattern);
    return true;
  });
const copied = [
  ...['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json'],
  ...['special_tokens_map.json', 'vocab.json', 'merges.txt', 'model.safetensors'],
];

before(async () => {
  await hub.start();
  const parts = Object.fromEntries(
    Object.entries(split).map(([name, bytes]) => [`Q2_K/${name}`, bytes]),
  );
  const bin = readFileSync(join(storiesOptBin, 'pytorch_model.bin'));
  hub.publish(stories, storiesOpt, { 'pytorch_model.bin': bin, 'model.onnx': bin });
  hub.publish('owner/bin', storiesOptBin);
  hub.publish('owner/some-gguf', null, {
    'some-Q4_K_M.gguf': gguf,
    'some-Q8_0.gguf': gguf,
    'mmproj-some-Q8_0.gguf': gguf,
    ...parts,
  });
  hub.publish('owner/one-gguf', null, { 'one.gguf': gguf, 'README.md': Buffer.from('#') });
});

describe('pull', () => {
  it('brings what a model needs and nothing else, byte for byte', async () => {
    hub.reset();
    const report = await pull(stories, { connections: 4 });
    assertEntries(report.directory, copied);
    for (const name of copied) {
      const [here, there] = [report.directory, storiesOpt].map((dir) =>
        readFileSync(join(dir, name)),
      );
      assert.ok(here?.equals(there as Buffer), name);
    }
    assert.equal(report.revision, commit);
    assert.equal(report.checkpoint, report.directory);
    assert.equal(report.downloadedBytes, report.bytes);
    assert.equal(report.resumedBytes, 0);
    // In several ranges; besides, only the header was read.
    const weights = hub.seen.filter(({ at, path }) => at === 'storage' && /safetensors/.test(path));
    assert.ok(new Set(weights.map(({ range }) => range)).size >= 3);
    assert.ok(hub.sentBytes < report.bytes + 200_000, `${hub.sentBytes}`);
    assert.ok(!hub.seen.some(({ path }) => /\.(bin|onnx|md)/.test(path)));
    assert.deepEqual(readdirSync(join(report.directory, '..')), ['to']);
  });

  it('takes .bin where there are no safetensors, and shards by their index', async () => {
    const bin = await pull('owner/bin');
    assert.ok(existsSync(join(bin.directory, 'pytorch_model.bin')));
    const dir = join(root.directory(), 'shards');
    cpSync(storiesOpt, dir, { recursive: true });
    rmSync(join(dir, 'model.safetensors'));
    const tensors = readSafetensors(join(storiesOpt, 'model.safetensors'));
    const shards = [...writeShards(dir, tensors, 3), 'model.safetensors.index.json'];
    hub.publish('owner/shards', dir, { 'model-extra.safetensors': gguf });
    const found = await pull('owner/shards');
    assertEntries(found.directory, [...copied.slice(0, -1), ...shards]);
    assert.deepEqual(found.report.problems, []);
  });

  it('takes the GGUF that is asked for, with all its parts', async () => {
    const q4 = await pull('owner/some-gguf:q4_k_m');
    assertEntries(q4.directory, ['some-Q4_K_M.gguf']);
    assert.equal(basename(q4.checkpoint), 'some-Q4_K_M.gguf');
    assert.ok(readFileSync(q4.checkpoint).equals(gguf));
    const named = await pull('owner/some-gguf:some-Q8_0.gguf');
    assertEntries(named.directory, ['some-Q8_0.gguf']);
    const one = await pull('owner/one-gguf');
    assertEntries(one.directory, ['one.gguf']);
    const q2 = await pull('owner/some-gguf:Q2_K');
    assertEntries(q2.directory, Object.keys(split));
    assert.equal(basename(q2.checkpoint), 'some-Q2_K-00001-of-00003.gguf');
    const list = /Q2_K \(\d+ KiB\), Q4_K_M \(102 KiB\), Q8_0 \(102 KiB\)\. .*owner\/some-gguf:Q2_K/;
    await rejects(pull('owner/some-gguf'), list);
    await rejects(pull('owner/some-gguf:Q5_K'), /has no 'Q5_K'; it has .*Q4_K_M/);
    await rejects(pull(`${stories}:Q4_0`), /has no GGUF files/);
  });

  it('says in a plan what a model is, from a fraction of its bytes', async () => {
    hub.reset();
    for (const model of [stories, 'owner/bin', 'owner/one-gguf']) {
      const found = await examineOnHub({ model, address: hub.address() });
      assert.deepEqual(found.report.problems, [], model);
      assert.ok(found.report.modelBytes > 50_000);
    }
    const found = await examineOnHub({ model: stories, address: hub.address() });
    const { checkpoint, ...report } = found.report;
    const { checkpoint: _, ...local } = await inspectCheckpoint(storiesOpt);
    assert.equal(checkpoint, stories);
    assert.deepEqual(report, local);
    hub.reset();
    await examineOnHub({ model: stories, address: hub.address() });
    assert.ok(hub.sentBytes < 300_000, `${hub.sentBytes} of ${found.bytes}`);
  });

  it('compares two heads by how they begin', async () => {
    for (const [change, note] of [
      [0, /lm_head\.weight begins with the values of .*embed_tokens\.weight: taken for the same/],
      [1, /lm_head\.weight holds other values: it is kept as a separate head/],
    ] as const) {
      const dir = join(root.directory(), 'heads');
      cpSync(storiesOpt, dir, { recursive: true });
      changeTensors(dir, (tensors) => {
        const embedding = tensors.get('model.decoder.embed_tokens.weight');
        assert.ok(embedding);
        const data = Buffer.from(embedding.data);
        data[0] = (data[0] ?? 0) ^ change;
        tensors.set('lm_head.weight', { ...embedding, data });
      });
      hub.publish('owner/heads', dir);
      hub.reset();
      const { report } = await examineOnHub({ model: 'owner/heads', address: hub.address() });
      assert.match(report.notes.join('\n'), note);
      assert.equal(report.spec.tiedHead, change === 0);
      assert.ok(hub.sentBytes < 800_000, `${hub.sentBytes}`);
    }
  });

  it('refuses what would not run before its weights are read, and leaves nothing', async () => {
    const config = JSON.parse(readFileSync(join(storiesOpt, 'config.json'), 'utf8'));
    const publish = (id: string, change: object) =>
      hub.publish(id, storiesOpt, {
        'config.json': Buffer.from(JSON.stringify({ ...config, ...change })),
      });
    publish('owner/foreign', { model_type: 'mamba', architectures: ['Mamba'] });
    publish('owner/gptq', { quantization_config: { quant_method: 'gptq', bits: 4 } });
    publish('owner/wide', { hidden_size: 4096 });
    for (const [id, why] of [
      ['owner/foreign', /owner\/foreign\/config\.json.*mamba/],
      ['owner/gptq', /quantised with .*gptq/i],
      ['owner/wide', /would not run, and is not downloaded: owner\/wide\//],
    ] as const) {
      hub.reset();
      const parent = root.directory();
      await rejects(pull(id, { directory: join(parent, 'to') }), why);
      assert.deepEqual(readdirSync(parent), []);
      assert.ok(hub.sentBytes < 400_000);
    }
  });

  it('checks what is there already, and refuses what is something else', async () => {
    const { directory } = await pull(stories);
    hub.reset();
    const again = await pull(stories, { directory });
    assert.deepEqual([again.downloadedBytes, again.resumedBytes], [0, again.bytes]);
    assert.equal(hub.sentBytes, 0);
    const file = join(directory, 'model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(file, bytes);
    await rejects(pull(stories, { directory }), /already exists.*model\.safetensors is another/);
    await rejects(pull('owner/one-gguf', { directory }), /already exists.*no one\.gguf/);
    const other = join(root.directory(), 'to');
    mkdirSync(`${other}.partial`);
    writeFileSync(join(`${other}.partial`, 'mine'), '');
    await rejects(pull(stories, { directory: other }), /where an unfinished download would be/);
    assert.ok(existsSync(join(`${other}.partial`, 'mine')));
  });

  it('refuses a mount point before it begins: nothing could take its place', async (t) => {
    const dir = root.directory();
    await withTmpfs(t, dir, 'size=1m', async () => {
      hub.reset();
      await rejects(pull(stories, { directory: dir }), /is a mount point.*Choose a directory/);
      assert.ok(hub.sentBytes < 100_000);
    });
  });

  it('looks for room before it begins', async (t) => {
    const dir = root.directory();
    await withTmpfs(t, dir, 'size=1m', async () => {
      hub.reset();
      await rejects(
        pull(stories, { directory: join(dir, 'to') }),
        /to\.partial: the download needs [\d.]+ MiB more and the disk has [\d.]+ KiB free\. Free/,
        DiskFullError,
      );
      assert.deepEqual(readdirSync(dir), []);
      assert.ok(hub.sentBytes < 400_000);
    });
  });

  it('sends the token to the hub alone', async () => {
    hub.reset();
    await pull('owner/one-gguf', { address: hub.address('hf_secret') });
    const tokens = (at: string) =>
      new Set(hub.seen.filter((seen) => seen.at === at).map(({ authorization }) => authorization));
    assert.deepEqual(tokens('hub'), new Set(['Bearer hf_secret']));
    assert.deepEqual(tokens('storage'), new Set([undefined]));
  });

  it('holds off a second process that downloads to the same place', async () => {
    const directory = join(root.directory(), 'to');
    let second: Promise<unknown> = Promise.resolve();
    await pull(stories, {
      directory,
      onExamined: async () => {
        second = rejects(pull(stories, { directory }), /is being downloaded by process/);
        await second;
      },
    });
    await second;
  });
});
