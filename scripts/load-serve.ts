/**
 * Runs clients that send requests to a server continuously, inside a control group whose limit is the
 * budget, and compares each answer with the one that the same request gets alone. Some clients disconnect
 * early, some read slowly; with --hostile, others send endless bodies, partial requests and floods, and read
 * nothing. Prints answers, refusals and memory; exits with 1 if anything was lost, mixed up or killed.
 *
 *   node --import tsx scripts/load-serve.ts <model> [--budget <MiB>] [--clients <n>] [--parallel <n>]
 *       [--seconds <n>] [--context <n>] [--queue <n>] [--template <file>] [--schemas] [--hostile]
 *
 * Needs a build (`npm run build`) and, for the control group, root on Linux. Without --budget, the budget
 * is the floor plus 32 MiB.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Random } from '../src/engine/random.ts';
import { chatml } from '../test/serve/template.ts';
import { openMemoryGroup } from '../test/support/cgroup.ts';
import { text } from './text-option.ts';

const MIB = 2 ** 20;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    budget: text(''),
    clients: text('16'),
    parallel: text('4'),
    seconds: text('120'),
    context: text('512'),
    queue: text('8'),
    template: text(''),
    schemas: { type: 'boolean', default: false },
    hostile: { type: 'boolean', default: false },
  },
});
const [model] = positionals;
if (model === undefined) {
  process.stderr.write('usage: load-serve.ts <model> [--seconds <n>] [--clients <n>] ...\n');
  process.exit(2);
}

const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'flashllm-load-'));
const template = values.template || join(folder, 'chatml.jinja');
writeFileSync(join(folder, 'chatml.jinja'), chatml);
const args = [
  ...[launcher, 'serve', model, '--port', '0', '--template', template],
  ...['--parallel', values.parallel, '--context', values.context, '--queue', values.queue],
  ...(values.schemas ? [] : ['--no-grammars']),
];

const refusal = spawnSync(process.execPath, [...args, '--dram-budget', '1MiB']).stderr.toString();
const floor = Number(/Give at least (\d+)MiB/.exec(refusal)?.[1]);
const budget = values.budget === '' ? floor + 32 : Number(values.budget);
const group = openMemoryGroup(budget * MIB);
if (group === null) process.stdout.write('no control group: the budget is not enforced\n');

/** A request, which is the same whenever it is made. */
interface Asked {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly seed: number;
  readonly max_tokens: number;
  readonly temperature: number;
  readonly response_format?: object;
}

const subjects = ['a dog', 'the moon', 'two friends', 'a red boat', 'rain', 'an old clock'];

function askedOf(seed: number): Asked {
  const random = new Random(seed);
  const below = (count: number) => Math.floor(random.next() * count);
  const subject = () => subjects[below(subjects.length)] ?? '';
  const messages = [{ role: 'system', content: 'You tell short stories to children.' }];
  for (let turn = below(3); turn >= 0; turn--) {
    messages.push({ role: 'user', content: `Tell me of ${subject()} and ${subject()}.` });
    if (turn > 0) messages.push({ role: 'assistant', content: `Once there was ${subject()}.` });
  }
  const schema = {
    type: 'object',
    properties: { name: { enum: subjects }, count: { type: 'integer', minimum: 1, maximum: 90 } },
    required: ['name', 'count'],
    additionalProperties: false,
  };
  const isHeld = values.schemas && below(4) === 0;
  return {
    messages,
    seed,
    max_tokens: 8 + below(isHeld ? 80 : 56),
    temperature: below(2),
    ...(isHeld
      ? { response_format: { type: 'json_schema', json_schema: { name: 'a', schema } } }
      : {}),
  };
}

interface Server {
  readonly child: ChildProcess;
  readonly url: string;
  readonly ended: Promise<number | null>;
}

async function startServer(limit: number, under: readonly string[]): Promise<Server> {
  const command = [...under, process.execPath, ...args, '--dram-budget', `${limit}MiB`];
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr?.on('data', (part) => {
      said = (said + part).slice(-4000);
      for (const line of `${part}`.split('\n')) {
        if (/ 5\d\d, /.test(line)) process.stdout.write(`${line}\n`);
      }
      const found = /listening at (http:\S+)/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    void ended.then((code) => reject(new Error(`the server ended with ${code}: ${said}`)));
  });
  return { child, url, ended };
}

function post(url: string, body: object, signal?: AbortSignal): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });
}

interface Whole {
  readonly choices: readonly { readonly message: object; readonly finish_reason: string }[];
}

/** The answer's text, for comparison. */
async function answer(url: string, asked: Asked): Promise<string | null> {
  const response = await post(url, asked);
  const body = (await response.json()) as Whole;
  if (response.status === 429) return null;
  if (response.status !== 200) throw new Error(`${response.status}: ${JSON.stringify(body)}`);
  return JSON.stringify(body.choices);
}

/** The same text from a stream, read slowly. */
async function streamed(url: string, asked: Asked): Promise<string | null> {
  const response = await post(url, { ...asked, stream: true });
  if (response.status === 429) return null;
  let [content, finish] = ['', ''];
  let rest = '';
  for await (const part of response.body ?? []) {
    const lines = (rest + Buffer.from(part as Uint8Array).toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('data: {')) continue;
      const { choices } = JSON.parse(line.slice(6)) as {
        choices: [{ delta: { content?: string }; finish_reason: string | null }];
      };
      content += choices[0]?.delta.content ?? '';
      finish = choices[0]?.finish_reason ?? finish;
    }
    await pause(20);
  }
  const message = { role: 'assistant', content, refusal: null };
  return JSON.stringify([{ index: 0, message, logprobs: null, finish_reason: finish }]);
}

/** Disconnects before the end. @returns null if the request was refused */
async function leaves(url: string, asked: Asked, afterMs: number): Promise<'left' | null> {
  const leave = new AbortController();
  setTimeout(() => leave.abort(), afterMs);
  try {
    const response = await post(url, { ...asked, stream: true, max_tokens: 200 }, leave.signal);
    if (response.status === 429) return null;
    await response.text();
  } catch {
    // The client has disconnected.
  }
  return 'left';
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const counts = { answered: 0, refused: 0, left: 0, lost: 0 };
const kept = new Map<number, string>();
const mixed: number[] = [];

/** One of few requests, so that each is answered many times. */
const different = 200;

async function client(number: number, url: string, until: number): Promise<void> {
  const random = new Random(1000 + number);
  while (performance.now() < until) {
    const seed = Math.floor(random.next() * different);
    const kind = random.next();
    try {
      const asked = askedOf(seed);
      const said =
        kind < 0.15
          ? await leaves(url, asked, 20 + 400 * random.next())
          : await (kind < 0.45 ? streamed : answer)(url, asked);
      if (said === null) {
        counts.refused++;
        await pause(100);
      } else if (said === 'left') {
        counts.left++;
      } else {
        counts.answered++;
        if ((kept.get(seed) ?? said) !== said) mixed.push(seed);
        kept.set(seed, said);
      }
    } catch (error) {
      counts.lost++;
      const { cause = '' } = error as Error;
      process.stdout.write(`lost: ${error} ${cause}\n`);
      if (counts.lost > 20) return;
    }
  }
}

const attacks: readonly ((url: string) => Promise<unknown>)[] = [
  // A prompt of a megabyte, and a megabyte of brackets.
  (url) =>
    post(url, {
      ...askedOf(1),
      messages: [{ role: 'user', content: 'dog '.repeat(2 ** 18 - 99) }],
    }),
  (url) =>
    post(url, { messages: Array.from({ length: 5000 }, () => ({ role: 'user', content: '' })) }),
  (url) => raw(url, `Content-Length: ${2 ** 30}\r\n\r\n`, 64),
  (url) => raw(url, 'Transfer-Encoding: chunked\r\n\r\n', 64),
  (url) => raw(url, 'Content-Le', 0),
  (url) => raw(url, `X-Long: ${'x'.repeat(2 ** 16)}\r\n\r\n`, 0),
  (url) => Promise.all(Array.from({ length: 40 }, (_, i) => post(url, askedOf(i)).then(textOf))),
  (url) => unread(url),
];

const textOf = (response: Response) => response.text();
const head =
  'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';

/** Sends a part of a request and then pieces of 64 KiB, and stays connected for a second. */
async function raw(url: string, rest: string, pieces: number): Promise<void> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(head + rest);
  for (let sent = 0; sent < pieces && !socket.destroyed; sent++) {
    socket.write(`10000\r\n${' '.repeat(2 ** 16)}\r\n`);
    await pause(5);
  }
  await pause(1000);
  socket.destroy();
}

/** Requests a long stream with large messages, and reads nothing of it. */
async function unread(url: string): Promise<void> {
  const body = JSON.stringify({
    ...askedOf(2),
    max_tokens: 200,
    stream: true,
    logprobs: true,
    top_logprobs: 20,
  });
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
  await pause(5000);
  socket.destroy();
}

async function attacker(number: number, url: string, until: number): Promise<void> {
  for (let turn = number; performance.now() < until; turn++) {
    await attacks[turn % attacks.length]?.(url).catch(() => {});
  }
}

/** Resident memory, and the highest until now, in MiB. */
function memoryOf({ pid }: ChildProcess): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name: string) =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024);
  return `resident ${of('VmRSS')} MiB, peak ${of('VmHWM')} of ${budget} MiB`;
}

let failed = false;
const servers: Server[] = [];
try {
  const server = await startServer(budget, group?.under ?? []);
  servers.push(server);
  const seconds = Number(values.seconds);
  const until = performance.now() + 1000 * seconds;
  const timer = setInterval(() => {
    process.stdout.write(`${JSON.stringify(counts)}, ${memoryOf(server.child)}\n`);
  }, 10_000);
  const clients = Array.from({ length: Number(values.clients) }, (_, i) =>
    client(i, server.url, until),
  );
  const attackers = values.hostile ? attacks.map((_, i) => attacker(i, server.url, until)) : [];
  await Promise.all([...clients, ...attackers]);
  clearInterval(timer);
  process.stdout.write(`${JSON.stringify(counts)}, ${memoryOf(server.child)}\n`);

  // Now each request alone, on a fresh server without a memory limit.
  const alone = await startServer(2 * budget + 1024, []);
  servers.push(alone);
  for (const [seed, said] of kept) {
    if ((await answer(alone.url, askedOf(seed))) !== said) mixed.push(seed);
  }
  for (const { child, ended } of servers) {
    child.kill('SIGTERM');
    const code = await ended;
    if (code !== 0) failed = true;
    process.stdout.write(`ended with ${code}\n`);
  }
  const kills = group?.kills() ?? 0;
  process.stdout.write(
    `${kept.size} different requests; ${mixed.length} answers differ from the one alone; ${kills} kills\n`,
  );
  failed ||= mixed.length > 0 || counts.lost > 0 || kills > 0 || counts.answered === 0;
} finally {
  for (const { child, ended } of servers) {
    child.kill('SIGKILL');
    await ended;
  }
  group?.remove();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
