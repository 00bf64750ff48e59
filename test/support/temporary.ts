/** Directories that are gone when the tests are. */

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

/** A directory for the tests of one file; call it once, outside of any test. */
export function temporaryRoot(): TemporaryRoot {
  const path = mkdtempSync(join(tmpdir(), 'flashllm-cli-'));
  after(() => rmSync(path, { recursive: true, force: true }));
  return new TemporaryRoot(path);
}

export class TemporaryRoot {
  readonly path: string;
  #directories = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** A fresh, empty directory. */
  directory(): string {
    const path = join(this.path, String(this.#directories++));
    mkdirSync(path);
    return path;
  }
}

/** Asserts that `dir` holds exactly the entries `names`. */
export function assertEntries(dir: string, names: readonly string[]): void {
  assert.deepEqual(readdirSync(dir).sort(), [...names].sort());
}
