// Copies those files of the page that are not compiled to where the compiled ones are.
import { copyFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
for (const name of ['index.html', 'page.css']) {
  copyFileSync(path(`src/serve/page/${name}`), path(`dist/serve/page/${name}`));
}
