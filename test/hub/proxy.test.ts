/** Downloads through a proxy, over TLS and without it. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { InputError, IoError } from '../../src/errors.ts';
import { proxyOf } from '../../src/hub/proxy.ts';
import { pullModel } from '../../src/hub/pull.ts';
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

const pull = (directory: string, endpoint: string) =>
  pullModel({
    model: 'owner/one',
    directory,
    address: { endpoint: new URL(endpoint), token: 'hf_secret' },
    timing: { firstPauseMs: 1 },
  });
const fails = (work: Promise<unknown>, pattern: RegExp) =>
  assert.rejects(work, (error: Error) => {
    assert.ok(error instanceof IoError, error.stack);
    assert.match(error.line, pattern);
    assert.doesNotMatch(error.line, /you|p%20w/);
    return true;
  });
/** Names by which the hub and its storage are known to the proxy alone. */
const publish = (storage: string, [one = 0, other = 0]: readonly number[]) => {
  hub.storageName = storage;
  names = new Map([
    ['hub.test', { port: one }],
    ['storage.test', { port: other }],
  ]);
};
const environment = { ...process.env };

/** For this process, which asks for it at each request. */
function use(url: string): void {
  for (const name of ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY', 'NO_PROXY']) {
    for (const form of [name, name.toLowerCase()]) delete process.env[form];
  }
  process.env.HTTPS_PROXY = url;
  process.env.HTTP_PROXY = url;
}

after(() => {
  process.env = environment;
});

describe('pull through a proxy', () => {
  it('speaks TLS with the hub through a tunnel', async () => {
    use(proxyUrl);
    const ports = await Promise.all(hub.ports.map((port) => proxy.secured(() => port)));
    publish('https://storage.test', ports);
    await fails(pull(join(root.path, 'distrusted'), 'https://hub.test'), /is not trusted: .*CERTS/);
    const cwd = root.directory();
    const trusting = { HF_ENDPOINT: 'https://hub.test', NODE_EXTRA_CA_CERTS: trusted };
    await runCliWell(['pull', 'owner/one', 'to'], { cwd, env: trusting });
    assert.ok(readFileSync(join(cwd, 'to/one.gguf')).equals(gguf));
    const tunnels = ['CONNECT hub.test:443', 'CONNECT storage.test:443'];
    assert.deepEqual(new Set(proxy.seen), new Set(tunnels));
    // From https nothing leads to http.
    publish('http://storage.test', ports);
    const { stderr } = await runCli(['pull', 'owner/one', 'down'], { cwd, env: trusting });
    assert.match(stderr, /redirects to 'http:\/\/storage\.test.*which is not followed/);
  });

  it('asks the proxy for what is not encrypted', async () => {
    use(proxyUrl);
    publish('http://storage.test', hub.ports);
    hub.reset();
    const { checkpoint } = await pull(join(root.directory(), 'to'), 'http://hub.test');
    assert.ok(readFileSync(checkpoint).equals(gguf));
    // Neither the token nor the proxy's own password goes on to the storage.
    const tokens = hub.seen.filter(({ authorization }) => authorization !== undefined);
    assert.ok(tokens.length > 0 && tokens.every(({ at }) => at === 'hub'));
  });

  it('says when the proxy refuses', async () => {
    use(proxyUrl.replace('me:', 'you:'));
    for (const endpoint of ['https://hub.test', 'http://hub.test']) {
      const refused = pull(join(root.path, 'refused'), endpoint);
      await fails(refused, /127\.0\.0\.1:\d+\/: the proxy refuses the connection \(status 407\)/);
    }
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
