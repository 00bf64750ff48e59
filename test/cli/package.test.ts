/** What is published works by itself: packed, installed elsewhere, the whole line from checkpoint to text. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
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
  writeFileSync(join(home, 'package.json'), '{ "name": "user", "private": true }\n');
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

test('packed and installed: convert, predict-train, generate under a budget', () => {
  const home = root.directory();
  const packed = npm(['pack', '--ignore-scripts', '--pack-destination', home], project);
  assert.equal(packed.status, 0, packed.stderr);
  const tarball = join(home, packed.stdout.trim().split('\n').at(-1) ?? '');
  install(tarball, home);

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
