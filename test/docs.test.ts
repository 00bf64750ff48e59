/** The documentation: its links lead somewhere, and the commands in it exist with their options. */

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { outlineOf } from '../src/cli/outline/outline.ts';
import { createProgram } from '../src/cli/program.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const pages = ['.', 'docs', 'fixtures'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, folder, name)),
);
const texts = new Map(pages.map((page) => [page, readFileSync(page, 'utf8')]));

/** The anchors of a page, as they are made of its headings; a heading that returns gets a number. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of withoutCode(text).matchAll(/^#+ +(.+?) *$/gm)) {
    const plain = heading.toLowerCase().replace(/[^\p{L}\p{N}\p{M} _-]/gu, '');
    const slug = plain.replaceAll(' ', '-');
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${slug}-${n}`;
    anchors.add(anchor);
  }
  for (const [, id = ''] of text.matchAll(/<a id="([^"]+)">/g)) anchors.add(id);
  return anchors;
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, '').replace(/^ {4}.*$/gm, '');
}

test('every link within the project leads to a file, and to a heading in it', () => {
  const dead: string[] = [];
  let links = 0;
  for (const [page, text] of texts) {
    for (const [, target = ''] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links++;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : resolve(dirname(page), path);
      const there = existsSync(file) && file.startsWith(root);
      const found =
        there && (anchor === undefined || anchorsOf(readFileSync(file, 'utf8')).has(anchor));
      if (!found) dead.push(`${relative(root, page)}: ${target}`);
    }
  }
  assert.ok(links > 5);
  assert.deepEqual(dead, []);
});

test('anchors are those of headings', () => {
  const text = '# The `--a` option, and *b*\n## Twice\n```\n# code\n```\n## Twice\n';
  assert.deepEqual([...anchorsOf(text)], ['the---a-option-and-b', 'twice', 'twice-1']);
});

/** Command lines in blocks of code, continued ones joined. */
function commandLines(text: string): string[] {
  const joined = text.replace(/ *\\\n\s*/g, ' ');
  return [...joined.matchAll(/^ *(?:\$ |exec )?(?:npx (?:--yes )?)?flashllm ([a-z].*)$/gm)].map(
    ([, line = '']) => line,
  );
}

test('every command in the documentation exists, with its options', async () => {
  const program = outlineOf(await createProgram());
  const shared = program.options.map(({ long }) => long);
  const unknown: string[] = [];
  let seen = 0;
  for (const [page, text] of texts) {
    // Prose that begins with the name of the program has no indentation.
    const code = [...text.matchAll(/^ {4}.*$|^```[\s\S]*?^```/gm)].map(([block]) => block);
    for (const line of commandLines(code.join('\n'))) {
      seen++;
      const [name = '', ...words] = line.split(/\s+/);
      const command = program.commands.find((known) => known.name === name);
      const options = command?.options.map(({ long }) => long) ?? [];
      const wrong = words
        .map((word) => /^--[a-z][a-z-]*/.exec(word)?.[0])
        .filter((word) => word !== undefined)
        .filter((word) => ![...options, ...shared].includes(word));
      if (command === undefined || wrong.length > 0) {
        unknown.push(`${relative(root, page)}: flashllm ${line}`);
      }
    }
  }
  assert.ok(seen > 10);
  assert.deepEqual(unknown, []);
});

test('docs/API.md has every name of the library and no other (npm run generate)', () => {
  const index = readFileSync(join(root, 'src/index.ts'), 'utf8');
  const exported = [...index.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(
    ([, names = '']) => names.split(',').map((name) => name.trim().replace(/^type /, '')),
  );
  const page = readFileSync(join(root, 'docs/API.md'), 'utf8');
  const described = [...page.matchAll(/^### (\w+)/gm)].map(([, name = '']) => name);
  assert.deepEqual(described.toSorted(), exported.filter((name) => name !== '').toSorted());
});
