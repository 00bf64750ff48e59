/** Text from files on its way to the terminal: harmless in every command, exact with --json. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { crcHex } from '../../src/flash/checksum.ts';
import { changeConfig, changeTensors, copyStories } from '../support/checkpoint.ts';
import { assertRefused, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { mkfifoSync } from '../support/fifo.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { type ManifestDocument, mended, withValue } from '../support/manifest.ts';
import { convert, copyModel } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
let model = '';
before(async () => {
  model = await convert(storiesOpt, join(root.directory(), 'model'));
});

/** What may be in no output: C0 but tab and newline, DEL, C1. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const acting = /[\0-\x08\x0b-\x1f\x7f-\x9f]/;
const title = '\x1b]0;title\x07\x9b2J\u202e';

const manifestOf = (dir: string) =>
  JSON.parse(readFileSync(join(dir, 'flash.json'), 'utf8')) as ManifestDocument;

/** A copy of the model whose flash.json has something else in it, and a checksum that fits. */
function changedModel(path: readonly (string | number)[], value: unknown): string {
  const dir = copyModel(model, join(root.directory(), 'model'));
  writeFileSync(join(dir, 'flash.json'), mended(withValue(manifestOf(dir), path, value)));
  return dir;
}

test('only terminal.ts writes to the terminal', () => {
  const src = fileURLToPath(new URL('../../src/', import.meta.url));
  const files = readdirSync(src, { recursive: true })
    .map((name) => `${name}`.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.ts') && name !== 'cli/terminal.ts');
  assert.ok(files.length > 150);
  const writes =
    /process\s*\.\s*(stdout|stderr)|\{[^}]*\b(stdout|stderr)\b[^}]*\}\s*=\s*process|\bconsole\s*\.|from '(ora|cli-table3|node:console)'|\bWriteStream\b[^;]*from 'node:tty'|writeSync\(\s*[12]\b/;
  for (const name of files) {
    const source = readFileSync(`${src}${name}`, 'utf8');
    // It makes texts of tables, and filters their cells as terminal.ts does.
    const tables = name === 'cli/table.ts' ? "import Table from 'cli-table3';" : '';
    assert.doesNotMatch(source.replace(tables, ''), writes, name);
  }
});

describe('what a model says of itself', () => {
  it('is shown by inspect, and acts on nothing', async () => {
    const dir = changedModel(['producer'], `me ${title}${'x'.repeat(5000)}`);
    const { stdout } = await runCliWell(['inspect', dir]);
    assert.match(stdout, /^made by +me \\x1b\]0;title\\x07\\x9b2J\\u202e/m);
    assert.doesNotMatch(stdout, acting);
    for (const line of stdout.split('\n')) assert.ok(line.length <= 1000);
  });

  it('is exact in JSON, which acts on nothing either', async () => {
    const dir = changedModel(['architecture', 'family'], title);
    const { stdout } = await runCliWell(['inspect', dir, '--json']);
    assert.doesNotMatch(stdout, acting);
    const { architecture } = JSON.parse(stdout) as { architecture: { family: string } };
    assert.equal(architecture.family, title);
  });
});

test('names in a checkpoint are shown harmless, and cut', async () => {
  const name = `model.decoder.${'long'.repeat(200)}`;
  const dir = changeTensors(copyStories(root.directory()), (tensors) => {
    const some = tensors.values().next().value;
    assert.ok(some !== undefined);
    tensors.set(name, some);
  });
  const result = await runCli(['convert', dir, join(root.directory(), 'out')]);
  assertRefused(result, [/model\.decoder\.long.*…/s]);
  assert.ok(result.stderr.length <= 1000, `${result.stderr.length}`);

  const odd = changeConfig(copyStories(root.directory()), { model_type: `x${title}\n\x1b[2J` });
  for (const args of [
    ['inspect', odd],
    ['convert', odd, join(root.directory(), 'out')],
  ]) {
    const { stderr, code } = await runCli(args);
    assert.equal(code, 2);
    assert.doesNotMatch(stderr, acting);
    assert.match(stderr, /^error: [^\n]+\n$/);
  }
});

test('what is wrong with a command line is shown harmless, too', async () => {
  for (const args of [[`--${title}`], ['generate', model, '--top-k', title]]) {
    const { stderr, code } = await runCli(args);
    assert.equal(code, 2);
    assert.doesNotMatch(stderr, acting);
    assert.match(stderr, /\\x1b\]0;title/);
  }
});

test('generated text acts on nothing, and --json has it as it is', async () => {
  const args = ['--prompt', 'Once upon a time', '--temperature', '0', '--max-tokens', '4'];
  const { tokens } = await runCliJson<{ tokens: number[] }>(['generate', model, ...args]);
  const [first = 0, second = 0] = tokens;
  assert.notEqual(first, second);
  // Bytes as byte-level tokens write them: ESC ] x BEL, and half of U+009B in each of two tokens.
  const dir = retokenised(
    new Map([
      [first, 'ě]0;xćÂ'],
      [second, 'Ľ2Jč'],
    ]),
  );
  const { stdout } = await runCliWell(['generate', dir, ...args]);
  assert.ok(stdout.startsWith('\\x1b]0;x\\x07\\x9b2J'), JSON.stringify(stdout));
  assert.doesNotMatch(stdout, acting);
  const json = await runCliWell(['generate', dir, ...args, '--json']);
  assert.doesNotMatch(json.stdout, acting);
  const { text } = JSON.parse(json.stdout) as { text: string };
  assert.ok(text.startsWith('\x1b]0;x\x07\x9b2J\r'), JSON.stringify(text));
});

/** A copy of the model with other text for some of its tokens. */
function retokenised(texts: ReadonlyMap<number, string>): string {
  const dir = copyModel(model, join(root.directory(), 'model'));
  const file = join(dir, 'tokenizer.json');
  const json = JSON.parse(readFileSync(file, 'utf8')) as {
    model: { vocab: Record<string, number>; merges: (string | [string, string])[] };
  };
  const gone = new Set<string>();
  const vocab = Object.entries(json.model.vocab).map(([token, id]) => {
    const text = texts.get(id);
    if (text !== undefined) gone.add(token);
    return [text ?? token, id] as const;
  });
  json.model.vocab = Object.fromEntries(vocab);
  json.model.merges = json.model.merges.filter((merge) => {
    const [left = '', right = ''] = typeof merge === 'string' ? merge.split(' ') : merge;
    return ![left, right, left + right].some((part) => gone.has(part));
  });
  const bytes = Buffer.from(JSON.stringify(json));
  writeFileSync(file, bytes);
  const stored = { bytes: bytes.length, crc32: crcHex(bytes) };
  const document = withValue(manifestOf(dir), ['files', 'tokenizer.json'], stored);
  writeFileSync(join(dir, 'flash.json'), mended(document));
  return dir;
}

const posix = process.platform === 'win32' ? { skip: 'no FIFOs and links here' } : {};
describe('in a model, whatever flash.json says', posix, () => {
  it('a file beyond the directory is not opened', async () => {
    for (const name of ['../secret', '/etc/hostname']) {
      const dir = changedModel(['files', name], { bytes: 1, crc32: '00000000' });
      assertRefused(await runCli(['inspect', dir]), [
        'flash.json: damaged',
        'a model directory has no such file',
      ]);
    }
  });

  it('a FIFO or a device is refused at once, and a link to a file is a file', async () => {
    const args = (dir: string) => ['generate', dir, '--prompt', 'x', '--max-tokens', '1'];
    for (const name of ['config.json', 'resident.safetensors', 'predictors.safetensors']) {
      const dir = copyModel(model, join(root.directory(), 'model'));
      rmSync(join(dir, name), { force: true });
      mkfifoSync(join(dir, name));
      assertRefused(await runCli(args(dir)), [`${join(dir, name)}: is a FIFO, not a file`]);
    }
    const dir = copyModel(model, join(root.directory(), 'model'));
    rmSync(join(dir, 'bundles.safetensors'));
    symlinkSync('/dev/zero', join(dir, 'bundles.safetensors'));
    assertRefused(await runCli(args(dir)), ['bundles.safetensors: is a device, not a file']);
    rmSync(join(dir, 'bundles.safetensors'));
    symlinkSync(join(model, 'bundles.safetensors'), join(dir, 'bundles.safetensors'));
    await runCliWell(args(dir));
  });

  it('numbers that nothing bears out are refused before anything is done', async () => {
    for (const key of ['layers', 'vocabSize']) {
      const dir = changedModel(['architecture', key], 2 ** 31 - 1);
      assertRefused(await runCli(['inspect', dir]), ['flash.json: damaged']);
    }
  });
});

describe('in a checkpoint', posix, () => {
  it('a FIFO, a device, a directory and JSON nested 20,000 deep are one line', async () => {
    const deep = '['.repeat(20_000) + ']'.repeat(20_000);
    const files = ['config.json', 'tokenizer.json', 'generation_config.json', 'model.safetensors'];
    for (const [i, name] of files.entries()) {
      const dir = copyStories(root.directory());
      const path = join(dir, name);
      rmSync(path);
      const put = [
        () => mkfifoSync(path),
        () => symlinkSync('/dev/zero', path),
        () => writeFileSync(path, deep),
        () => symlinkSync(dir, path),
      ];
      put[i]?.();
      const result = await runCli(['convert', dir, join(root.directory(), 'out')]);
      const says = ['a FIFO', 'a device', 'nested more than 200 levels', 'a directory'][i] ?? '';
      assertRefused(result, [path, says]);
    }
  });
});
