/** What the sources keep to, whatever is in them: no import circles, no file too long to be read. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const mostLines = 400;

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The files that each file imports; types count, too. */
function importsOf(files: readonly string[]): Map<string, string[]> {
  const known = new Set(files);
  return new Map(
    files.map((file) => {
      const found = readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g);
      const targets = [...found].map(([, to = '']) => resolve(dirname(file), to));
      return [file, targets.filter((target) => known.has(target))];
    }),
  );
}

/** A way from a file back to itself, or null. */
function circleIn(imports: ReadonlyMap<string, readonly string[]>): string[] | null {
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (file: string): string[] | null => {
    const at = way.indexOf(file);
    if (at >= 0) return [...way.slice(at), file];
    if (done.has(file)) return null;
    way.push(file);
    for (const next of imports.get(file) ?? []) {
      const circle = visit(next);
      if (circle !== null) return circle;
    }
    way.pop();
    done.add(file);
    return null;
  };
  for (const file of imports.keys()) {
    const circle = visit(file);
    if (circle !== null) return circle;
  }
  return null;
}

test('a circle is found where there is one', () => {
  const imports = new Map([
    ['a', ['b', 'c']],
    ['b', ['c']],
    ['c', ['d']],
    ['d', ['b']],
  ]);
  assert.deepEqual(circleIn(imports), ['b', 'c', 'd', 'b']);
  imports.set('d', []);
  assert.equal(circleIn(imports), null);
});

test('no file imports itself by way of others', () => {
  const imports = importsOf(sources('src'));
  assert.ok(imports.size > 200 && [...imports.values()].flat().length > imports.size);
  const circle = circleIn(imports);
  assert.equal(circle?.map((file) => relative(root, file)).join(' -> ') ?? null, null);
});

test('imports between folders go down the list in ARCHITECTURE.md', () => {
  const text = readFileSync(join(root, 'docs/ARCHITECTURE.md'), 'utf8');
  const listed = [...text.matchAll(/^\| `src\/([a-z]+)\/` \|/gm)].map(([, folder = '']) => folder);
  const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );
  assert.deepEqual(listed.toSorted(), folders.map(({ name }) => name).toSorted());
  /** How far down a file is; those directly in src/ are below all folders, except the library. */
  const floorOf = (file: string) => {
    const [folder = '', ...inside] = relative(join(root, 'src'), file).split(sep);
    if (inside.length === 0) return folder === 'index.ts' ? 0 : listed.length;
    return listed.indexOf(folder);
  };
  const known = [listed.indexOf('models'), listed.indexOf('checkpoint')].join();
  const up = [...importsOf(sources('src'))].flatMap(([file, targets]) =>
    targets
      .filter((target) => floorOf(target) < floorOf(file))
      .filter((target) => [floorOf(file), floorOf(target)].join() !== known)
      .map((target) => `${relative(root, file)} -> ${relative(root, target)}`),
  );
  assert.deepEqual(up, []);
});

test('plans are made in src/plan', () => {
  const outside = ['src', 'scripts', 'test']
    .flatMap(sources)
    .filter((file) => !/^src.plan./.test(relative(root, file)) && file !== import.meta.filename)
    .filter((file) => readFileSync(file, 'utf8').includes('sealPlan'));
  assert.deepEqual(outside, []);
});

test(`no source has more than ${mostLines} lines`, () => {
  const long = ['src', 'assembly', 'test', 'scripts']
    .flatMap(sources)
    .map((file) => ({ file, lines: readFileSync(file, 'utf8').split('\n').length - 1 }))
    .filter(({ lines, file }) => lines > mostLines && !/fixtures/.test(file))
    .map(({ file, lines }) => `${relative(root, file)}: ${lines}`);
  assert.deepEqual(long, []);
});
