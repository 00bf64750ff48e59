/** The page in a real browser: what somebody sees and types. Skipped where there is no Chromium. */

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { type RunningCli, startCli } from '../support/cli.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { storiesModel } from './support.ts';
import { chatml } from './template.ts';

const root = temporaryRoot();
const { source: axe } = createRequire(import.meta.url)('axe-core') as { readonly source: string };

function findChromium(): string | undefined {
  const { CHROMIUM, PATH = '' } = process.env;
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const found = PATH.split(delimiter).flatMap((dir) => names.map((name) => join(dir, name)));
  return [...(CHROMIUM === undefined ? [] : [CHROMIUM]), ...found].find((path) => existsSync(path));
}

const executablePath = findChromium();
let server: RunningCli | undefined;
let browser: Browser | undefined;
let url = '';

before(async () => {
  if (executablePath === undefined) return;
  const template = join(root.directory(), 'template.jinja');
  writeFileSync(template, chatml);
  const model = await storiesModel(root);
  const options = ['--port', '0', '--template', template, '--dram-budget', '256MiB'];
  server = startCli(['serve', model, ...options, '--no-grammars']);
  const launch = chromium.launch({ executablePath, args: ['--no-sandbox'] });
  url = await listening(server);
  browser = await launch;
});

after(async () => {
  await browser?.close();
  server?.child.kill('SIGTERM');
  if (server !== undefined) assert.equal((await server.finished).code, 0);
});

/** Where the server listens, as it says. */
function listening({ child }: RunningCli): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const found = /listening at (http:\S+)/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.on('close', () => reject(new Error(said)));
  });
}

interface Opened {
  readonly page: Page;
  /** Requests to anywhere else, errors and warnings. */
  readonly faults: readonly string[];
}

async function open(t: TestContext, options: BrowserContextOptions = {}): Promise<Opened | null> {
  if (browser === undefined) {
    t.skip('there is no Chromium here');
    return null;
  }
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('console', (message) => {
    if (message.type() !== 'log') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) {
      faults.push(`request to ${request.url()}`);
    }
  });
  await page.goto(url);
  return { page, faults };
}

/** Sends a message by the keyboard alone. */
async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.keyboard.press('Enter');
}

const answers = (page: Page) => page.locator('article.assistant .text');

test('an answer is streamed, statistics follow, and a reload keeps the conversation', async (t) => {
  const opened = await open(t);
  if (opened === null) return;
  const { page, faults } = opened;
  await page.getByLabel('Maximum tokens').fill('24');
  await page.getByLabel('Temperature').fill('0');
  await say(page, 'Once upon a time');
  await page.getByText('The answer is complete.').waitFor();
  const text = await answers(page).first().textContent();
  assert.ok(text !== null && text.length > 20, `answered ${text}`);
  await page.getByText(/tokens\/s/).waitFor();
  await page.getByText(/MiB of 256 MiB/).waitFor();
  await page.reload();
  assert.equal(await answers(page).first().textContent(), text);
  await page.getByRole('button', { name: 'New conversation' }).click();
  assert.equal(await answers(page).count(), 0);
  assert.deepEqual(faults, []);
});

test('Escape stops an answer that does not end, and another one can follow', async (t) => {
  const opened = await open(t);
  if (opened === null) return;
  const { page, faults } = opened;
  const send = page.getByRole('button', { name: 'Send' });
  // The bundled model is done before anybody can press a key.
  await page.route('**/v1/chat/completions', () => {});
  await say(page, 'Once upon a time there was a');
  await page.getByText('The model is answering.').waitFor();
  assert.ok(await send.isDisabled());
  await page.keyboard.press('Escape');
  await page.getByText('The answer was stopped.').waitFor();
  await page.unroute('**/v1/chat/completions');
  await page.getByLabel('Maximum tokens').fill('8');
  await say(page, 'And then');
  await page.getByText('The answer is complete.').waitFor();
  assert.equal(await page.locator('article.assistant').count(), 2);
  assert.deepEqual(faults, []);
});

test('what the server refuses is said, in its words', async (t) => {
  const opened = await open(t);
  if (opened === null) return;
  const { page } = opened;
  await say(page, 'word '.repeat(2000));
  const notice = page.getByRole('status');
  await notice.filter({ hasText: 'The request failed' }).waitFor();
  assert.match((await notice.textContent()) ?? '', /tokens/);
});

for (const [name, options] of [
  ['light', { viewport: { width: 1100, height: 750 }, colorScheme: 'light' }],
  ['dark', { viewport: { width: 1100, height: 750 }, colorScheme: 'dark' }],
  ['on a phone', { viewport: { width: 360, height: 720 }, colorScheme: 'light' }],
] as const) {
  test(`everybody can use it: ${name}`, async (t) => {
    // The tool that looks is a script that the page itself would not allow.
    const opened = await open(t, { ...options, bypassCSP: true });
    if (opened === null) return;
    const { page, faults } = opened;
    await page.getByLabel('Maximum tokens').fill('4');
    await say(page, 'Hello');
    await page.getByText('The answer is complete.').waitFor();
    await page.evaluate(axe);
    const found = await page.evaluate('axe.run()');
    const { violations } = found as { violations: { id: string; nodes: { html: string }[] }[] };
    assert.deepEqual(
      violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]),
      [],
    );
    const width = await page.evaluate('document.documentElement.scrollWidth');
    assert.ok(Number(width) <= options.viewport.width, `${width} pixels wide`);
    assert.deepEqual(faults, []);
  });
}
