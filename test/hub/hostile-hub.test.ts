/** Downloads from servers that break off, lie, or mean harm: the same bytes, or a clear error. */

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { FlashError } from '../../src/errors.ts';
import { type PullRequest, pullModel } from '../../src/hub/pull.ts';
import { ggufFixtures, storiesOpt } from '../support/fixtures.ts';
import { commit, FakeHub, type HubRequestSeen, sha256 } from '../support/hub.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const hub = new FakeHub();
const stories = 'owner/stories';
const weights = readFileSync(join(storiesOpt, 'model.safetensors'));
const timing = { firstPauseMs: 1, longestPauseMs: 4, attempts: 8, stallMs: 300 };

const pull = (model: string, more: Partial<PullRequest> = {}) =>
  pullModel({
    model,
    directory: join(root.directory(), 'to'),
    address: hub.address(),
    timing,
    connections: 4,
    ...more,
  });
const fails = (work: Promise<unknown>, pattern: RegExp) =>
  assert.rejects(work, (error: Error) => {
    assert.ok(error instanceof FlashError, `${error.stack}`);
    assert.match(error.line, pattern);
    assert.doesNotMatch(error.line, /signature|hf_secret/);
    return true;
  });
const isWeights = ({ at, path }: HubRequestSeen) => at === 'storage' && /safetensors/.test(path);
/** Cuts what is asked for of the last third of the weights. */
const lastThird = (seen: HubRequestSeen) =>
  isWeights(seen) && Number(/\d+/.exec(seen.range ?? '')?.[0]) > 2_000_000 ? 0 : null;
const assertWhole = (directory: string) =>
  assert.ok(readFileSync(join(directory, 'model.safetensors')).equals(weights));
/** Answers requests for which `when` holds in its own way. */
const answering =
  (when: (seen: HubRequestSeen) => boolean, how: (response: ServerResponse) => void) =>
  (seen: HubRequestSeen, response: ServerResponse) => {
    if (!when(seen)) return false;
    how(response);
    return true;
  };
const list = (siblings: readonly object[], sha = commit) =>
  answering(
    ({ path }) => path.startsWith('/api/'),
    (response) => response.end(JSON.stringify({ sha, siblings })),
  );

before(async () => {
  await hub.start();
  hub.publish(stories, storiesOpt);
});

describe('pull from a server that breaks off', () => {
  it('goes on at the byte where a connection was cut', async () => {
    const dice = new Dice(7);
    let cuts = 0;
    hub.reset({
      cutAfter: (seen) => (isWeights(seen) && cuts++ < 12 ? dice.between(0, 600_000) : null),
    });
    const { directory, downloadedBytes, bytes } = await pull(stories);
    assertWhole(directory);
    assert.equal(downloadedBytes, bytes);
    assert.ok(cuts >= 12);
    // What was sent before a cut may be lost in a buffer; whole ranges are not.
    assert.ok(hub.sentBytes < bytes + 12 * 200_000 + 300_000, `${hub.sentBytes} of ${bytes}`);
  });

  it('keeps what came before it gives up, and the next run goes on with it', async () => {
    const directory = join(root.directory(), 'to');
    hub.reset({ cutAfter: lastThird });
    await fails(pull(stories, { directory }), /8 times in a row.*resumes where it stopped/);
    assert.ok(!existsSync(directory));
    assert.ok(!readdirSync(`${directory}.partial`).includes('model.safetensors'));
    hub.reset();
    const { resumedBytes, downloadedBytes, bytes } = await pull(stories, { directory });
    assertWhole(directory);
    assert.ok(resumedBytes > 1_000_000, `${resumedBytes}`);
    assert.equal(resumedBytes + downloadedBytes, bytes);
    assert.ok(hub.sentBytes < bytes - resumedBytes + 300_000);
  });

  it('stops when it is told to, and goes on in the next run', async () => {
    const directory = join(root.directory(), 'to');
    const stop = new AbortController();
    hub.reset({ bytesPerSecond: 4_000_000 });
    const onProgress = ({ downloadedBytes }: { downloadedBytes: number }) => {
      if (downloadedBytes > 1_000_000) stop.abort();
    };
    await assert.rejects(pull(stories, { directory, onProgress, signal: stop.signal }), {
      name: 'AbortError',
    });
    hub.reset();
    const { resumedBytes } = await pull(stories, { directory });
    assertWhole(directory);
    assert.ok(resumedBytes > 900_000, `${resumedBytes}`);
  });

  it('waits as long as a busy server asks, and takes a stalled one for a broken one', async () => {
    let busy = 0;
    let stalled = 0;
    const asked: number[] = [];
    hub.reset({
      answer: (seen, response) => {
        if (!isWeights(seen)) return false;
        if (busy++ < 1) {
          asked.push(performance.now());
          response.writeHead(429, { 'retry-after': '1' }).end();
          return true;
        }
        if (stalled++ < 1) {
          response.writeHead(206, { 'content-range': 'bytes 0-131071/3046632' }).write('x');
          return true; // and never goes on
        }
        if (asked.length === 1) asked.push(performance.now());
        return false;
      },
    });
    const { directory } = await pull(stories, { connections: 1 });
    assertWhole(directory);
    assert.ok((asked[1] ?? 0) - (asked[0] ?? 0) >= 1300, 'a second, and what the stall takes');
    hub.reset({
      answer: answering(isWeights, (response) =>
        response.writeHead(503, { 'retry-after': '7200' }).end(),
      ),
    });
    await fails(pull(stories), /asks to wait for 120 min/);
  });
});

describe('pull from a server that lies', () => {
  it('works where ranges are ignored', async () => {
    hub.reset({ ignoreRanges: true });
    const { directory, downloadedBytes, bytes } = await pull(stories);
    assertWhole(directory);
    assert.equal(downloadedBytes, bytes);
  });

  it('throws away what has another hash, and says so', async () => {
    const wrong = (path: string, bytes: Buffer, from: number) => {
      const at = path === 'model.safetensors' ? 2_000_000 - from : -1;
      if (at < 0 || at >= bytes.length) return bytes;
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      return changed;
    };
    hub.reset({ content: wrong });
    const directory = join(root.directory(), 'to');
    await fails(pull(stories, { directory }), /safetensors: .*SHA-256 [0-9a-f]{64}.*discarded/);
    assert.ok(!existsSync(directory));
    hub.reset({
      content: (path, bytes) => (path === 'merges.txt' ? Buffer.from(bytes).fill(32) : bytes),
    });
    await fails(pull(stories), /merges\.txt: .*git hash [0-9a-f]{40}/);
    hub.reset();
    await pull(stories, { directory });
    assertWhole(directory);
  });

  it('downloads anew what an earlier run left damaged', async () => {
    const directory = join(root.directory(), 'to');
    hub.reset({
      cutAfter: lastThird,
      content: (path, bytes, from) =>
        path === 'model.safetensors' && from > 1_000_000 ? Buffer.from(bytes).fill(1) : bytes,
    });
    await fails(pull(stories, { directory }), /resumes where it stopped/);
    hub.reset();
    await pull(stories, { directory });
    assertWhole(directory);
    assert.ok(hub.sentBytes > weights.length);
  });

  it('refuses lengths and ranges that contradict the list', async () => {
    for (const [headers, status, why] of [
      [{ 'content-length': '17' }, 200, /sends 17 bytes; the hub lists the file with 3046632/],
      [
        { 'content-range': 'bytes 0-131071/99' },
        206,
        /has 99 bytes; the hub lists it with 3046632/,
      ],
      [
        { 'content-range': 'bytes 5-131076/3046632' },
        206,
        /was asked for bytes 0-131071 and sends/,
      ],
      [{}, 416, /does not have the bytes that the hub lists/],
    ] as const) {
      hub.reset({
        answer: answering(isWeights, (response) => response.writeHead(status, headers).end()),
      });
      await fails(pull(stories), why);
    }
  });

  it('ends what has no end', async () => {
    const endless = (response: ServerResponse) => {
      const piece = Buffer.alloc(64 * 1024, 32);
      const more = () => {
        while (!response.destroyed && response.write(piece));
      };
      response.on('drain', more);
      more();
    };
    hub.reset({ answer: answering(({ path }) => path.startsWith('/api/'), endless) });
    await fails(pull(stories), /sends more than the limit of \d+ bytes/);
    hub.reset({ answer: answering(({ path }) => path.endsWith('/config.json'), endless) });
    await fails(pull(stories), /config\.json: .*git hash/);
    let hops = 0;
    hub.reset({
      answer: (seen, response) => {
        response.writeHead(302, { location: `${seen.path}x` }).end();
        hops++;
        return true;
      },
    });
    await fails(pull(stories), /redirects more than 10 times/);
    assert.ok(hops <= 12);
  });

  it('follows redirects to web addresses only', async () => {
    for (const location of ['file:///etc/passwd', 'ftp://127.0.0.1/x', 'http://[bad']) {
      hub.reset({
        answer: answering(
          ({ path }) => path.startsWith('/api/'),
          (response) => response.writeHead(302, { location }).end(),
        ),
      });
      await fails(pull(stories), /is not allowed/);
    }
  });

  it('takes nothing else for a list', async () => {
    const say = (body: string, status = 200) => ({
      answer: answering(
        ({ path }) => path.startsWith('/api/'),
        (response) => response.writeHead(status).end(body),
      ),
    });
    for (const [body, why] of [
      ['<html>Sign in</html>', /not that of a hub: it is not valid JSON/],
      ['{}', /names no commit/],
      [`{"sha":"${commit}","siblings":{}}`, /lists no files/],
      ['{"sha":"../../x","siblings":[]}', /names no commit/],
      [`${'['.repeat(300)}`, /levels|nest|deep/],
    ] as const) {
      hub.reset(say(body));
      await fails(pull(stories), why);
    }
    hub.reset(say('', 401));
    await fails(pull(stories), /owner\/stories does not exist, or is not public.*HF_TOKEN/);
    hub.reset(say('', 404));
    await fails(pull(stories, { revision: 'v9' }), /owner\/stories at v9 does not exist/);
    hub.reset(say('', 500));
    await fails(pull(stories), /cannot answer now \(status 500\), 3 times/);
  });

  it('keeps out of what names could reach', async () => {
    const content = readFileSync(join(ggufFixtures, 'llama/model.gguf'));
    const file = (rfilename: string) => ({
      rfilename,
      size: content.length,
      lfs: { sha256: sha256(content), size: content.length },
    });
    for (const name of [
      '../x.gguf',
      '/x.gguf',
      'a\\x.gguf',
      'x\0.gguf',
      'a//x.gguf',
      'a/../x.gguf',
    ]) {
      hub.reset({ answer: list([file(name)]) });
      await fails(pull(stories), /no config\.json and no GGUF file; it has nothing/);
    }
    for (const name of ['con.gguf', 'a:b.gguf', 'a/.gguf', 'LPT1.x.gguf', 'x?.gguf']) {
      hub.reset({ answer: list([file(name)]) });
      await fails(pull(stories), /is not an allowed file name/);
    }
    hub.reset({ answer: list([{ ...file('x.gguf'), lfs: { sha256: 'none', size: 5 } }]) });
    await fails(pull(stories), /it has nothing/);
  });

  it('stays at the commit that it began with', async () => {
    hub.reset();
    await pull(stories);
    const contents = hub.seen.filter(({ path }) => path.includes('/resolve/'));
    assert.ok(contents.length > 8);
    assert.ok(contents.every(({ path }) => path.includes(`/resolve/${commit}/`)));
  });
});
