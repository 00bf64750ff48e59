/**
 * Every command in the documentation is typed into a shell, with small models under the names that the
 * pages use, or its block says why not: `<!-- not run: why -->` before it. COMMANDS.md is written from the
 * commands and has their forms alone.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launcher } from './support/cli.ts';
import { codeBlocks, commandLines } from './support/code-blocks.ts';
import { calibText, ggufFixtures, storiesOpt } from './support/fixtures.ts';
import { FakeHub } from './support/hub.ts';
import { convert } from './support/model.ts';
import { temporaryRoot } from './support/temporary.ts';

const project = fileURLToPath(new URL('..', import.meta.url));
const pages = ['.', 'docs']
  .flatMap((folder) => readdirSync(join(project, folder)).map((name) => join(folder, name)))
  .filter((page) => page.endsWith('.md') && !/(COMMANDS|API|CHANGELOG)\.md$/.test(page));
const blocks = pages.flatMap((page) =>
  codeBlocks(readFileSync(join(project, page), 'utf8')).map((block) => ({ page, ...block })),
);
const withCommands = blocks.filter((block) => commandLines(block).length > 0);

const root = temporaryRoot();
const posix = process.platform === 'win32' ? { skip: 'needs a shell of POSIX' } : {};
const plain = '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:';
const hub = new FakeHub();
const bin = join(root.path, 'bin');
const gguf = readFileSync(join(ggufFixtures, 'llama/model.gguf'));
/** What requests of a batch look like is shown in BATCH.md. */
const requests = blocks
  .filter(({ code }) => code.startsWith('{"custom_id"'))
  .map(({ code }) => code);

/** It would change the machine; test/cli/package.test.ts installs the package elsewhere. */
const installation = 'npm install -g flashllm';

let checkpoint = '';
let model = '';

before(async () => {
  await hub.start();
  hub.publish('owner/name', storiesOpt);
  hub.publish('owner/name-GGUF', null, { 'name-Q4_K_M.gguf': gguf });
  mkdirSync(bin);
  const shim = `#!/bin/sh\nexec "${process.execPath}" "${launcher}" "$@"\n`;
  writeFileSync(join(bin, 'flashllm'), shim);
  chmodSync(join(bin, 'flashllm'), 0o755);
  checkpoint = join(root.path, 'checkpoint');
  cpSync(storiesOpt, checkpoint, { recursive: true });
  writeFileSync(join(checkpoint, 'chat_template.jinja'), plain);
  model = await convert(checkpoint, join(root.path, 'converted.flash'));
});

/** A directory in which all that the pages name is there, but for what `line` makes. */
function workplace(line: string): string {
  const dir = root.directory();
  for (const name of ['opt-6.7b', 'checkpoint'])
    cpSync(checkpoint, join(dir, name), { recursive: true });
  for (const name of ['opt-6.7b', 'model', 'name', 'small']) {
    cpSync(model, join(dir, `${name}.flash`), { recursive: true });
  }
  mkdirSync(join(dir, 'models'));
  writeFileSync(join(dir, 'model.gguf'), gguf);
  writeFileSync(join(dir, 'in.jsonl'), requests.join(''));
  for (const part of ['00', '01']) writeFileSync(join(dir, `part-${part}.out.jsonl`), '');
  const sample = readFileSync(calibText, 'utf8');
  writeFileSync(join(dir, 'sample.txt'), sample.slice(0, 3000));
  writeFileSync(join(dir, 'task.txt'), sample.slice(0, 200));
  const [, made] = /^flashllm (?:convert|pull) .*?(\S+\.flash)$/.exec(line) ?? [];
  if (made !== undefined) rmSync(join(dir, made), { recursive: true });
  return dir;
}

/** Types `line` into a shell; what it prints. A server is asked whether it is well, and ended. */
async function type(line: string, cwd: string): Promise<string> {
  const env = {
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH}`,
    HF_ENDPOINT: hub.url,
    FLASHLLM_CACHE: join(root.path, 'cache'),
  };
  const serves = line.startsWith('flashllm serve ');
  // Another program may have the usual port; without exec, the shell alone would get the signal.
  const child = spawn('sh', ['-c', serves ? `exec ${line} --port 0` : line], { cwd, env });
  child.stdin.end('Hello!\n');
  const [output, errors] = [text(child.stdout), text(child.stderr)];
  const ended = once(child, 'close') as Promise<[number | null]>;
  if (serves) {
    let said = '';
    for (let url: string | undefined; url === undefined; ) {
      const [part] = await Promise.race([once(child.stderr, 'data'), ended]);
      assert.ok(part instanceof Buffer, `${line} ended: ${said}`);
      said += part;
      url = /listening at (http:\S+)/.exec(said)?.[1];
      if (url !== undefined) assert.equal((await fetch(`${url}/health`)).status, 200);
    }
    child.kill('SIGTERM');
  }
  const [code] = await ended;
  assert.equal(code, 0, `${line}\n${await errors}`);
  return (await output) + (await errors);
}

test('commands are found in blocks of each kind, with the reason where they are not run', () => {
  const page =
    'Text:\n\n    flashllm plan x \\\n      --json\n\n<!-- not run: why -->\n\n```sh\nFOO=1 node x.js\n```\n\n' +
    "- item\n\n```js\nimport { x } from 'flashllm';\n```\n";
  const found = codeBlocks(page).map((block) => [block.line, block.notRun, commandLines(block)]);
  assert.deepEqual(found, [
    [3, null, ['flashllm plan x --json']],
    [8, 'why', ['FOO=1 node x.js']],
    [14, null, []],
  ]);
  assert.ok(withCommands.length >= 20, `${withCommands.length} blocks`);
});

describe('what the pages say to type', posix, () => {
  for (const { page, line: at, notRun, ...block } of withCommands) {
    if (notRun !== null) continue;
    test(`${relative('.', page)}, line ${at}`, async () => {
      let dir = '';
      // What a line converts has no chat template, as the model under the same name has.
      let made = false;
      for (const line of commandLines({ ...block, line: at, notRun })) {
        if (line === installation) continue;
        const makes = /^flashllm (convert|pull) /.test(line);
        if (dir === '' || makes || made) dir = workplace(line);
        made = makes;
        const said = await type(line, dir);
        if (line.startsWith('flashllm')) assert.notEqual(said, '', `${line} says nothing`);
      }
    });
  }
});
