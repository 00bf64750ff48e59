// Puts the files of the page that no compiler makes beside those that one does.
import { copyFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
for (const name of ['index.html', 'page.css']) {
  copyFileSync(path(`src/serve/page/${name}`), path(`dist/serve/page/${name}`));
}
