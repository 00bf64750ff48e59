/** A download that is killed at twenty moments, each by SIGKILL, goes on each time and ends whole. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { journalFile, partSuffix } from '../../src/hub/journal.ts';
import { pullModel } from '../../src/hub/pull.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { FakeHub } from '../support/hub.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const hub = new FakeHub();
const model = 'owner/stories';
const kills = 20;
/** What `npm run build` made: of the command line it takes less than half the time to start. */
const built = new URL('../../dist/hub/pull.js', import.meta.url).href;
const program = `
  const { pullModel } = await import(${JSON.stringify(built)});
  const [model, directory, endpoint] = process.argv.slice(1);
  await pullModel({ model, directory, address: { endpoint: new URL(endpoint), token: null } });
`;

before(async () => {
  assert.ok(existsSync(fileURLToPath(built)), 'run npm run build first');
  await hub.start();
  hub.publish(model, storiesOpt);
});

/** Starts a download and kills it behind so many requests and so many bytes. */
async function killedAfter(directory: string, requests: number, bytes: number): Promise<boolean> {
  hub.reset({ bytesPerSecond: 2_000_000 });
  const flags = ['--input-type=module', '-e', program, model, directory, hub.url];
  const child = spawn(process.execPath, flags, { stdio: 'inherit' });
  const ended = once(child, 'exit');
  while (child.exitCode === null && (hub.seen.length < requests || hub.sentBytes < bytes)) {
    await sleep(2);
  }
  child.kill('SIGKILL');
  const [, signal] = await ended;
  return signal === 'SIGKILL';
}

it(`survives ${kills} kills`, async () => {
  const directory = join(root.directory(), 'to');
  const partial = `${directory}.partial`;
  const dice = new Dice(11);
  const content = (name: string) => readFileSync(join(storiesOpt, name));
  let sentBytes = 0;
  let killed = 0;
  for (let kill = 0; kill < kills; kill++) {
    // The first ones early on, at each step of what comes before the weights. The others end before all
    // bytes can have come, the 128 KiB of the header counted.
    const early = kill < 6;
    const bytes = early ? 0 : dice.between(140_000, 380_000);
    if (await killedAfter(directory, early ? 1 + kill : 0, bytes)) killed++;
    sentBytes += hub.sentBytes;
    if (existsSync(directory)) break;
    const names = existsSync(partial) ? readdirSync(partial) : [];
    for (const name of names) {
      if (name.endsWith(partSuffix) || name.startsWith(journalFile)) continue;
      assert.ok(readFileSync(join(partial, name)).equals(content(name)), `${name} is half done`);
    }
  }
  assert.equal(killed, kills, 'the download ended before its last kill');
  hub.reset();
  const { resumedBytes, downloadedBytes, bytes, files } = await pullModel({
    model,
    directory,
    address: hub.address(),
  });
  sentBytes += hub.sentBytes;
  assert.deepEqual(readdirSync(directory).sort(), files.map(({ name }) => name).sort());
  for (const { name } of files) {
    assert.ok(readFileSync(join(directory, name)).equals(content(name)), name);
  }
  assert.ok(resumedBytes > 500_000, `${resumedBytes} of ${bytes} were there`);
  assert.equal(resumedBytes + downloadedBytes, bytes);
  // Each run reads the header again, and loses what it had not recorded.
  assert.ok(sentBytes < bytes + (kills + 1) * 450_000, `${sentBytes} for ${bytes}`);
  assert.deepEqual(readdirSync(join(directory, '..')), ['to']);
});
