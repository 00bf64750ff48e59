/**
 * Writes docs/COMMANDS.md and the manual page from the program's own commands:
 * `node --import tsx scripts/generate-reference.ts`, or `npm run generate`.
 */

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { outlineOf } from '../src/cli/outline/outline.ts';
import { manualPage, markdownReference } from '../src/cli/outline/reference.ts';
import { createProgram } from '../src/cli/program.ts';

const program = outlineOf(await createProgram());
const path = (name: string) => fileURLToPath(new URL(`../docs/${name}`, import.meta.url));
writeFileSync(path('COMMANDS.md'), markdownReference(program));
writeFileSync(path('flashllm.1'), manualPage(program));
