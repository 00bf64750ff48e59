/** The control groups that this process is in: what Linux and containers limit it with. */

import { readFileSync } from 'node:fs';

export interface ControlGroup {
  /** Of the interface, which names the files. */
  readonly version: 1 | 2;
  readonly dir: string;
}

/**
 * The groups of a controller (`memory`, `cpu`) around this process, from its own to the root: a limit
 * may stand on any of them. Inside a container the inner ones may not resolve.
 * @param root where /proc and /sys are; elsewhere in tests
 */
export function controlGroups(controller: string, root = ''): ControlGroup[] {
  const groups: ControlGroup[] = [];
  for (const line of (readText(`${root}/proc/self/cgroup`) ?? '').split('\n')) {
    const [id, controllers, path] = line.split(':');
    if (path === undefined) continue;
    const version = id === '0' && controllers === '' ? 2 : 1;
    if (version === 1 && !controllers?.split(',').includes(controller)) continue;
    const mount = `${root}/sys/fs/cgroup${version === 1 ? `/${controller}` : ''}`;
    for (let group = path; ; group = group.slice(0, group.lastIndexOf('/'))) {
      if (group === '/') group = '';
      groups.push({ version, dir: mount + group });
      if (group === '') break;
    }
  }
  return groups;
}

/** A small text file, or null where there is none. */
export function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
