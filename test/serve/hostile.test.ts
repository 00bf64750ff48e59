/** Clients that are wrong, slow, gone, or not who they should be: the server goes on. */

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { temporaryRoot } from '../support/temporary.ts';
import { assertAnswers } from './answers.ts';
import { startServer, storiesModel, type TestServer, until } from './support.ts';

const root = temporaryRoot();
const apiKey = 'a key of some length';
let at: TestServer;
before(async () => {
  at = await startServer(root, await storiesModel(root), {
    ...{ parallel: 2, queue: 2, apiKey, allowHosts: ['models.example'] },
    ...{ allowOrigins: ['https://app.example'], grammars: false },
  });
});
after(() => at.close());

const messages = [{ role: 'user', content: 'Once' }];
const body = { messages, max_tokens: 3, temperature: 0 };
/** Takes some seconds: the token that ends a text never comes. */
const long = { messages, max_tokens: 300, logit_bias: { 2: -100 } };

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** A request with any headers, which `fetch` would not send. */
function ask(
  path: string,
  { method = 'GET', headers = {}, content = '' }: AskOptions = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(at.url);
    const options = { host: '127.0.0.1', port, path, method, headers };
    const sent = httpRequest(options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => {
        text += part;
      });
      const { statusCode: status = 0, headers: got } = response;
      response.on('end', () => resolve({ status, headers: got, text }));
    });
    sent.on('error', reject);
    sent.end(content);
  });
}

interface AskOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly content?: string | Uint8Array;
}

const authorised = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
const chat = '/v1/chat/completions';
const post = (content: unknown, headers: Readonly<Record<string, string>> = {}) =>
  ask(chat, {
    method: 'POST',
    headers: { ...authorised, ...headers },
    content: typeof content === 'string' ? content : JSON.stringify(content),
  });

function assertError({ status, text }: Answer, expected: number, code: string): void {
  assert.equal(status, expected, text);
  const answer = JSON.parse(text) as { error: { code: string } };
  assertAnswers('ErrorResponse', answer);
  assert.equal(answer.error.code, code);
}

/** That the server still answers, with nobody in the way. */
async function assertGoesOn(): Promise<void> {
  const { status, text } = await post(body);
  assert.equal(status, 200, text);
}

test('who has no key, or a wrong one, is refused', async () => {
  for (const authorization of [
    '',
    'Bearer',
    `Bearer ${apiKey}x`,
    `Bearer a${' '.repeat(9000)}b`,
    `Basic ${apiKey}`,
    apiKey,
  ]) {
    assertError(await post(body, { authorization }), 401, 'invalid_api_key');
  }
  for (const path of ['/stats', '/metrics', '/v1/models']) {
    assertError(await ask(path), 401, 'invalid_api_key');
  }
  for (const path of ['/health', '/']) assert.equal((await ask(path)).status, 200);
  await assertGoesOn();
});

test('requests for other hosts and from other origins are refused', async () => {
  for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:80']) {
    assertError(await post(body, { host }), 403, 'forbidden_host');
    assertError(await ask('/', { headers: { host } }), 403, 'forbidden_host');
  }
  for (const host of ['localhost:1234', 'models.example', '192.168.1.7:8080', '[::1]:8080']) {
    assert.equal((await post(body, { host })).status, 200, host);
  }
  for (const origin of ['https://evil.example', 'null', 'http://localhost:1', 'file://']) {
    assertError(await post(body, { origin }), 403, 'forbidden_origin');
  }
  assertError(
    await ask('/v1/models', { headers: { ...authorised, 'sec-fetch-site': 'cross-site' } }),
    403,
    'forbidden_origin',
  );
  // A link may lead to the page; nobody may frame it, and it asks its own server alone.
  const page = await ask('/', { headers: { 'sec-fetch-site': 'cross-site' } });
  assert.equal(page.status, 200);
  assert.match(String(page.headers['content-security-policy']), /frame-ancestors 'none'/);
  const origin = 'https://app.example';
  const allowed = await post(body, { origin });
  assert.equal(allowed.status, 200);
  assert.equal(allowed.headers['access-control-allow-origin'], origin);
  const asked = 'authorization,content-type,x-stainless-lang';
  const preflight = await ask(chat, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-headers': asked },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-headers'], asked);
  const { host } = new URL(at.url);
  assert.equal((await post(body, { origin: at.url, host })).status, 200);
});

test('what is no request is told so', async () => {
  assertError(await post('{'), 400, 'invalid_json');
  assertError(await post('[]'), 400, 'invalid_json');
  assertError(await post('\xff'), 400, 'invalid_json');
  assertError(await post('['.repeat(5000)), 400, 'invalid_json');
  assertError(await post(`[${'[],'.repeat(20_000)}[]]`), 400, 'invalid_json');
  assertError(await post(body, { 'content-type': 'text/plain' }), 415, 'unsupported_media_type');
  assertError(await ask('/v1/nothing', { headers: authorised }), 404, 'invalid_url');
  const wrongMethod = await ask(chat, { headers: authorised });
  assertError(wrongMethod, 405, 'invalid_method');
  assert.equal(wrongMethod.headers.allow, 'POST');
  assertError(
    await post({ ...body, response_format: { type: 'json_object' } }),
    400,
    'unsupported_parameter',
  );
});

test('bodies without end are cut off', async () => {
  assertError(await post(body, { 'content-length': `${2 ** 30}` }), 413, 'body_too_large');
  const socket = await open();
  socket.write(
    `POST ${chat} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${apiKey}\r\n` +
      'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
  );
  const piece = `10000\r\n${' '.repeat(2 ** 16)}\r\n`;
  const said = textOf(socket);
  for (let sent = 0; sent < 32 && !socket.destroyed; sent++) {
    socket.write(piece);
    await new Promise(setImmediate);
  }
  assert.match(await said, /^HTTP\/1.1 413 /);
  await assertGoesOn();
});

test('half a request, and headers without end', async () => {
  const half = await open();
  half.write(`POST ${chat} HTTP/1.1\r\nHost: localhost\r\nContent-Le`);
  const full = await open();
  const said = textOf(full);
  full.write(`GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`);
  assert.match(await said, /^HTTP\/1.1 431 /);
  const noHttp = await open();
  const answered = textOf(noHttp);
  noHttp.write('HELO localhost\r\n\r\n');
  assert.match(await answered, /^HTTP\/1.1 400 /);
  await assertGoesOn();
  half.destroy();
});

test('beyond the queue requests are refused, and told when to come again', async () => {
  const leave = new AbortController();
  const { signal } = leave;
  const headers = authorised;
  const others = Array.from({ length: 4 }, () =>
    fetch(at.url + chat, { method: 'POST', headers, body: JSON.stringify(long), signal }).catch(
      () => null,
    ),
  );
  await until(() => atWork() === 2 && queued() === 2, 'two are answered and two wait');
  const refused = await post(body);
  assertError(refused, 429, 'queue_full');
  assert.match(String(refused.headers['retry-after']), /^[1-9]\d?$/);
  // All of them leave; those that wait at once, the others at the next token.
  leave.abort();
  await Promise.all(others);
  await until(() => atWork() === 0 && queued() === 0, 'all have left');
  await assertGoesOn();
});

test('who reads nothing holds up nobody', async () => {
  const socket = await open();
  socket.pause();
  socket.write(written({ ...long, stream: true, logprobs: true, top_logprobs: 20 }));
  await until(() => atWork() === 1, 'it is answered');
  await assertGoesOn();
  await until(() => atWork() === 0, 'the answer is made, read or not');
  socket.destroy();
  await assertGoesOn();
});

test('who leaves behind several requests on one connection leaves all of them', async () => {
  const socket = await open();
  socket.write(written(long).repeat(4));
  await until(() => atWork() === 2 && queued() === 2, 'two are answered and two wait');
  const told = at.log.length;
  socket.destroy();
  await until(() => at.log.length === told + 4, 'all have ended');
  assert.equal(atWork() + queued(), 0);
  for (const line of at.log.slice(told)) assert.match(line, / 499, the client disconnected, /);
  await assertGoesOn();
});

test('what is no HTTP does not get into an answer', async () => {
  const socket = await open();
  const said = textOf(socket);
  const begun = new Promise((resolve) => socket.once('data', resolve));
  socket.write(written({ ...long, stream: true }));
  await begun;
  socket.write('HELO localhost\r\n\r\n');
  assert.equal((await said).match(/HTTP\/1\.1/g)?.length, 1);
  await until(() => atWork() === 0, 'its sequence is free');
});

test('who never closes its side is closed', async () => {
  const { port } = new URL(at.url);
  const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
  socket.write('HELO localhost\r\n\r\n');
  assert.match(await textOf(socket), /^HTTP\/1\.1 400 /);
  const failed = new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve));
  const writing = setInterval(() => socket.write('?'), 50);
  const { code } = await failed;
  clearInterval(writing);
  assert.match(String(code), /^(EPIPE|ECONNRESET)$/);
});

/** A chat request as it goes over the wire. */
function written(asked: object): string {
  const content = JSON.stringify(asked);
  return (
    `POST ${chat} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${apiKey}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${content.length}\r\n\r\n${content}`
  );
}

/** Answers that are made, and that wait. */
const atWork = () => at.server.stats.active;
const queued = () => at.server.stats.queued;

async function open(): Promise<Socket> {
  const socket = connect(Number(new URL(at.url).port), '127.0.0.1');
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

function textOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.on('data', (part) => {
      text += part;
    });
    socket.on('close', () => resolve(text));
    socket.on('end', () => resolve(text));
  });
}
