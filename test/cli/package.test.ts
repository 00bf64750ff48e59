/** What is published works by itself: packed, installed elsewhere, the whole line from checkpoint to text. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { calibText, storiesOpt } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';

const project = fileURLToPath(new URL('../..', import.meta.url));
const root = temporaryRoot();

/** Runs a program of npm's, in a shell where Windows needs one. */
function npm(args: readonly string[], cwd: string) {
  return spawnSync('npm', args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' });
}

/** Installs the packed project into `home`; without a registry, its dependencies are linked. */
function install(tarball: string, home: string): void {
  writeFileSync(
    join(home, 'package.json'),
    '{ "name": "user", "private": true, "type": "module" }\n',
  );
  const flags = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
  if (npm(['install', ...flags, tarball], home).status === 0) return;
  const modules = join(home, 'node_modules');
  mkdirSync(join(modules, '.unpacked'), { recursive: true });
  const tar = ['-xzf', tarball, '-C', join(modules, '.unpacked')];
  assert.equal(spawnSync('tar', tar).status, 0, 'unpacking');
  cpSync(join(modules, '.unpacked', 'package'), join(modules, 'flashllm'), { recursive: true });
  const shared = join(project, 'node_modules');
  for (const name of readdirSync(shared)) {
    if (!name.startsWith('.')) symlinkSync(join(shared, name), join(modules, name), 'junction');
  }
}

interface Tarball {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

/** Bytes of the packed file: twice what it has in version 0.2. */
const largestTarball = 1.5 * 1024 * 1024;

/** All that was built is in the package, and nothing that only tests and builds need. */
function checkContent({ size, files }: Tarball): void {
  const paths = new Set(files.map(({ path }) => path));
  const sources = readdirSync(join(project, 'src'), { recursive: true })
    .map((name) => String(name).replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  const built = sources.flatMap((name) => {
    const module = `dist/${name.slice(0, -'.ts'.length)}`;
    return name.startsWith('serve/page/') ? [`${module}.js`] : [`${module}.js`, `${module}.d.ts`];
  });
  const others = [
    ...['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'docs/flashllm.1'],
    ...readdirSync(join(project, 'bin')).map((name) => `bin/${name}`),
    ...['build/flashllm.wasm', 'build/flashllm.relaxed.wasm'],
    ...['dist/serve/page/index.html', 'dist/serve/page/page.css'],
  ];
  const wanted = [...built, ...others];
  assert.ok(built.length > 600);
  assert.deepEqual(
    wanted.filter((path) => !paths.has(path)),
    [],
  );
  const allowed = /^dist\/.*\.(js|d\.ts)$/;
  assert.deepEqual(
    [...paths].filter((path) => !others.includes(path) && !allowed.test(path)),
    [],
  );
  assert.ok(size < largestTarball, `the package has ${size} bytes`);
}

/** Somebody's program compiles against the types alone, without the DOM and with libraries checked. */
function checkTypes(home: string): void {
  const types = join(home, 'node_modules', '@types');
  if (!existsSync(join(types, 'node'))) {
    mkdirSync(types, { recursive: true });
    symlinkSync(join(project, 'node_modules', '@types', 'node'), join(types, 'node'), 'junction');
  }
  writeFileSync(join(home, 'program.ts'), program);
  const compilerOptions = {
    ...{ target: 'es2022', lib: ['es2022'], module: 'nodenext', types: ['node'] },
    ...{ strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true },
  };
  const config = { compilerOptions, files: ['program.ts'] };
  writeFileSync(join(home, 'tsconfig.json'), JSON.stringify(config));
  const compiler = join(project, 'node_modules', 'typescript', 'bin', 'tsc');
  const compiled = spawnSync(process.execPath, [compiler, '-p', home], { encoding: 'utf8' });
  assert.equal(compiled.status, 0, compiled.stdout);
}

/** What README.md shows of the library, with the types that it names. */
const program = `import {
  chat, type ChatMessage, generate, greedy, Model, type RunRequest, Runtime,
} from 'flashllm';

const request: RunRequest = { budget: 3 * 2 ** 30, context: 512, sequences: 4 };
const model = await Model.open('./opt-6.7b.flash');
const runtime = await Runtime.open(model, request);
const sequence = runtime.sequence();
const promptIds = model.tokenizer.encodePrompt('Once upon a time');
const { text } = await generate(sequence, { promptIds, maxTokens: 100, sampling: greedy });
const messages: ChatMessage[] = [{ role: 'user', content: text }];
const { message } = await chat(sequence, messages, { maxTokens: 100, sampling: greedy });
messages.push(message);
// @ts-expect-error: a budget is a number of bytes
export const wrong: RunRequest = { budget: '3GiB', context: 512 };
sequence.close();
await runtime.close();
model.close();
`;

test('packed and installed: convert, predict-train, generate under a budget', () => {
  const home = root.directory();
  const packed = npm(['pack', '--ignore-scripts', '--json', '--pack-destination', home], project);
  assert.equal(packed.status, 0, packed.stderr);
  const [tarball] = JSON.parse(packed.stdout) as Tarball[];
  assert.ok(tarball !== undefined);
  checkContent(tarball);
  install(join(home, tarball.filename), home);
  checkTypes(home);

  const launcher = join(home, 'node_modules', 'flashllm', 'bin', 'flashllm.cjs');
  const flashllm = (...args: string[]) => {
    const result = spawnSync(process.execPath, [launcher, ...args], {
      cwd: home,
      encoding: 'utf8',
      env: { ...process.env, FLASHLLM_CACHE: join(home, 'cache') },
    });
    assert.equal(result.status, 0, `${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };
  flashllm('convert', storiesOpt, 'stories.flash');
  const training = ['--data', calibText, '--max-tokens', '8192', '--epochs', '1'];
  const trained = flashllm('predict-train', 'stories.flash', ...training, '--json');
  const { layers } = JSON.parse(trained) as { layers: { mass: number }[] };
  assert.equal(layers.length, 6);
  const prompt = ['--prompt', 'Once upon a time', '--temperature', '0', '--max-tokens', '20'];
  const generated = flashllm('generate', 'stories.flash', ...prompt, '--dram-budget', '128MiB');
  const exact = flashllm('generate', 'stories.flash', ...prompt, '--exact');
  assert.ok(generated.length > 20, generated);
  // The first words are certain enough not to depend on what predictors leave out.
  assert.equal(generated.slice(0, 12), exact.slice(0, 12));
});
