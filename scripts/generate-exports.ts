/**
 * Writes the files in which the compute core exports its kernels (assembly/index.ts and
 * assembly/exports/), from the tables in src/kernels; to be run when these have changed.
 *
 *     npm run generate
 */

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { AssemblyExports, readSources } from './kernel-exports/assembly-sources.ts';
import { exportFiles } from './kernel-exports/export-files.ts';

const assembly = new URL('../assembly/', import.meta.url);
const files = exportFiles(new AssemblyExports(readSources(assembly)));
mkdirSync(new URL('exports/', assembly), { recursive: true });
for (const name of readdirSync(new URL('exports/', assembly))) {
  if (!files.has(`exports/${name}`)) rmSync(new URL(`exports/${name}`, assembly));
}
for (const [path, text] of files) writeFileSync(new URL(path, assembly), text);
