/** Downloads through a proxy, over TLS and without it. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { InputError } from '../../src/errors.ts';
import { proxyOf } from '../../src/hub/proxy.ts';
import { runCli, runCliWell } from '../support/cli.ts';
import { ggufFixtures } from '../support/fixtures.ts';
import { FakeHub } from '../support/hub.ts';
import { certificate, type Names, TestProxy } from '../support/proxy.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const hub = new FakeHub();
let names: Names = new Map();
const proxy = new TestProxy(() => names);
const gguf = readFileSync(join(ggufFixtures, 'llama/model.gguf'));
const trusted = join(root.path, 'trusted.pem');
let proxyUrl = '';

before(async () => {
  await hub.start();
  hub.publish('owner/one', null, { 'one.gguf': gguf });
  proxyUrl = await proxy.start('me:p%20w');
  writeFileSync(trusted, certificate);
});

const env = (more: Readonly<Record<string, string>>) => ({
  HTTPS_PROXY: proxyUrl,
  HTTP_PROXY: proxyUrl,
  NO_PROXY: '',
  HF_TOKEN: 'hf_secret',
  ...more,
});
const pull = (cwd: string, more: Readonly<Record<string, string>>) =>
  runCli(['pull', 'owner/one', 'to'], { cwd, env: env(more) });

describe('pull through a proxy', () => {
  it('speaks TLS with the hub through a tunnel', async () => {
    const [one, other] = hub.ports.map((port) => proxy.secured(() => port));
    names = new Map([
      ['hub.test', { port: (await one) ?? 0 }],
      ['storage.test', { port: (await other) ?? 0 }],
    ]);
    hub.storageName = 'https://storage.test';
    const cwd = root.directory();
    const secure = { HF_ENDPOINT: 'https://hub.test' };
    const distrusted = await pull(cwd, secure);
    assert.equal(distrusted.code, 1);
    assert.match(distrusted.stderr, /is not trusted: .*NODE_EXTRA_CA_CERTS/);
    await runCliWell(['pull', 'owner/one', 'to'], {
      cwd,
      env: env({ ...secure, NODE_EXTRA_CA_CERTS: trusted }),
    });
    assert.ok(readFileSync(join(cwd, 'to/one.gguf')).equals(gguf));
    assert.deepEqual(
      new Set(proxy.seen),
      new Set(['CONNECT hub.test:443', 'CONNECT storage.test:443']),
    );
    // From https nothing leads to http.
    hub.storageName = 'http://storage.test';
    const down = await pull(root.directory(), { ...secure, NODE_EXTRA_CA_CERTS: trusted });
    assert.match(down.stderr, /redirects to 'http:\/\/storage\.test.*which is not followed/);
  });

  it('says when the proxy refuses', async () => {
    for (const [scheme, endpoint] of [
      ['HTTPS_PROXY', 'https://hub.test'],
      ['HTTP_PROXY', 'http://hub.test'],
    ] as const) {
      const wrong = proxyUrl.replace('me:', 'you:');
      const { code, stderr } = await pull(root.path, { HF_ENDPOINT: endpoint, [scheme]: wrong });
      assert.equal(code, 1);
      assert.match(stderr, /127\.0\.0\.1:\d+\/: the proxy lets nothing pass \(status 407\)/);
      assert.doesNotMatch(stderr, /you|p%20w/);
    }
  });

  it('asks the proxy for what is not encrypted', async () => {
    const [one = 0, other = 0] = hub.ports;
    names = new Map([
      ['hub.test', { port: one }],
      ['storage.test', { port: other }],
    ]);
    hub.storageName = 'http://storage.test';
    hub.reset();
    const cwd = root.directory();
    const { code, stderr } = await pull(cwd, { HF_ENDPOINT: 'http://hub.test' });
    assert.equal(code, 0, stderr);
    assert.ok(readFileSync(join(cwd, 'to/one.gguf')).equals(gguf));
    const tokens = hub.seen.filter(({ authorization }) => authorization !== undefined);
    assert.ok(tokens.length > 0 && tokens.every(({ at }) => at === 'hub'));
  });
});

describe('the proxy of an address', () => {
  it('is what the environment says', () => {
    const of = (url: string, environment: NodeJS.ProcessEnv) =>
      proxyOf(new URL(url), environment)?.href ?? null;
    const both = { HTTPS_PROXY: 'secure:1', http_proxy: 'http://plain:2' };
    assert.equal(of('https://a.b/', both), 'http://secure:1/');
    assert.equal(of('http://a.b/', both), 'http://plain:2/');
    assert.equal(of('http://a.b/', { ALL_PROXY: 'all:3' }), 'http://all:3/');
    assert.equal(of('https://a.b/', {}), null);
    for (const list of ['a.b', '.b', '*', 'x, a.b:443', '*.b']) {
      assert.equal(of('https://a.b/', { ...both, NO_PROXY: list }), null, list);
    }
    for (const list of ['b.a', 'aa.b', 'a.b:80', '']) {
      assert.equal(of('https://a.b/', { ...both, no_proxy: list }), 'http://secure:1/', list);
    }
    for (const url of ['http://localhost:1/', 'http://127.0.0.1/', 'http://[::1]:8/']) {
      assert.equal(of(url, both), null);
    }
    assert.throws(
      () => of('https://a.b/', { HTTPS_PROXY: 'socks5://me:secret@x' }),
      (error: Error) => error instanceof InputError && !/secret/.test(error.line),
    );
  });
});
