// Removes what was built, so that a package holds nothing of sources that are gone.
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
for (const name of ['dist', 'build']) rmSync(path(name), { recursive: true, force: true });
