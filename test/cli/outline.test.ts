/** What is written from the commands themselves: completion for shells, reference, manual page. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { completionScript, type Shell, shells } from '../../src/cli/outline/completion-scripts.ts';
import { outlineOf } from '../../src/cli/outline/outline.ts';
import { manualPage, markdownReference } from '../../src/cli/outline/reference.ts';
import { createProgram } from '../../src/cli/program.ts';
import { temporaryRoot } from '../support/temporary.ts';

const program = outlineOf(await createProgram());
const doc = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../docs/${name}`, import.meta.url)), 'utf8');

const root = temporaryRoot();

/** What a shell makes of a script, or null where this machine has no such shell. */
function inShell(shell: Shell, script: string, ...flags: string[]): string | null {
  const file = join(root.directory(), 'script');
  writeFileSync(file, script);
  const { error, stdout, stderr, status } = spawnSync(shell, [...flags, file], {
    encoding: 'utf8',
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return null;
  assert.equal(status, 0, stderr);
  return stdout;
}

test('a command line loads the command that it names, and all where others are told of', async () => {
  const namesFor = async (...args: string[]) =>
    (await createProgram(args)).commands.map((command) => command.name());
  assert.deepEqual(await namesFor('convert', 'a', 'b'), ['convert']);
  assert.deepEqual(await namesFor('--debug', 'plan', 'convert'), ['plan']);
  assert.deepEqual(await namesFor('--version'), []);
  const all = program.commands.map(({ name }) => name);
  assert.ok(all.length > 10);
  for (const args of [[], ['--help'], ['help', 'plan'], ['completion', 'bash'], ['converts']]) {
    assert.deepEqual(await namesFor(...args), all, args.join(' '));
  }
});

test('docs/COMMANDS.md and the manual page are those of the commands (npm run generate)', () => {
  assert.equal(doc('COMMANDS.md'), markdownReference(program));
  assert.equal(doc('flashllm.1'), manualPage(program));
});

for (const shell of shells) {
  test(`${shell} takes its script, which has every command and option`, (t) => {
    const script = completionScript(shell, program);
    for (const command of program.commands) {
      assert.ok(script.includes(command.name), command.name);
      for (const { long } of command.options) {
        assert.ok(script.includes(shell === 'fish' ? `-l ${long.slice(2)}` : long), long);
      }
    }
    if (inShell(shell, script, '-n') === null) t.skip(`there is no ${shell} here`);
  });
}

test('bash completes commands, options and their values', (t) => {
  const complete = (...words: string[]) => {
    const array = words.map((word) => `'${word}'`).join(' ');
    return `COMP_WORDS=(${array}); COMP_CWORD=${words.length - 1}; _flashllm; echo "\${COMPREPLY[*]}"\n`;
  };
  const script = [
    completionScript('bash', program),
    complete('flashllm', 'conv'),
    complete('flashllm', 'convert', '--ffn'),
    complete('flashllm', 'generate', 'model', '--kv-dtype', 'f1'),
    complete('flashllm', 'completion', ''),
    complete('flashllm', 'convert', '--dtype', '--'),
    complete('flashllm', 'no-command', '--'),
  ].join('\n');
  const lines = inShell('bash', script);
  if (lines === null) {
    t.skip('there is no bash here');
    return;
  }
  assert.deepEqual(lines.split('\n'), [
    'convert',
    '--ffn-dtype',
    'f16',
    'bash zsh fish',
    '',
    '',
    '',
  ]);
});
