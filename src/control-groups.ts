/** The control groups of this process, with which Linux and containers limit it. */

import { readFileSync } from 'node:fs';

export interface ControlGroup {
  /** Version of the interface, which decides how the files are named. */
  readonly version: 1 | 2;
  readonly dir: string;
}

/**
 * The groups of a controller (`memory`, `cpu`) around this process, from its own to the outermost
 * that is visible: any of them may set a limit. A container sees its own group as the root, or under a path
 * that does not exist below the mount.
 * @param root directory that holds /proc and /sys; tests pass another one
 */
export function controlGroups(controller: string, root = ''): ControlGroup[] {
  const mounts = groupMounts(readText(`${root}/proc/self/mountinfo`) ?? '');
  const groups: ControlGroup[] = [];
  for (const line of (readText(`${root}/proc/self/cgroup`) ?? '').split('\n')) {
    const [id, controllers, ...rest] = line.split(':');
    if (rest.length === 0) continue;
    const version = id === '0' && controllers === '' ? 2 : 1;
    if (version === 1 && !controllers?.split(',').includes(controller)) continue;
    const usual = `/sys/fs/cgroup${version === 1 ? `/${controller}` : ''}`;
    const mount = mounts.find(
      (found) =>
        found.version === version && (version === 2 || found.controllers.includes(controller)),
    ) ?? { point: usual, root: '/' };
    for (let group = belowMount(rest.join(':'), mount.root); ; group = parentOf(group)) {
      groups.push({ version, dir: root + mount.point + group });
      if (group === '') break;
    }
  }
  return groups;
}

interface GroupMount {
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
  /** The mount point. */
  readonly point: string;
  /** The group that is visible at the mount point. */
  readonly root: string;
}

/**
 * Mounts of control groups in /proc/self/mountinfo, whose lines are
 * `id parent device root point options [fields] - type source options-of-the-file-system`.
 */
function groupMounts(mountinfo: string): GroupMount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [mount = '', fileSystem = ''] = line.split(' - ');
    const [, , , root, point] = mount.split(' ').map(unescapeOctal);
    const [type, , options = ''] = fileSystem.split(' ');
    if (root === undefined || point === undefined) return [];
    if (type !== 'cgroup' && type !== 'cgroup2') return [];
    return [{ version: type === 'cgroup' ? 1 : 2, controllers: options.split(','), point, root }];
  });
}

/** Spaces and similar characters are escaped, as `\040`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** The path below a mount of the group `root`; '' for that group itself. */
function belowMount(group: string, root: string): string {
  const top = root === '/' ? '' : root;
  // A path that begins with /.. is outside the visible part of the hierarchy.
  if (!`${group}/`.startsWith(`${top}/`) || group.split('/').includes('..')) return '';
  const below = group.slice(top.length);
  return below === '/' ? '' : below;
}

function parentOf(group: string): string {
  return group.slice(0, group.lastIndexOf('/'));
}

/** A small text file, or null where there is none. */
export function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
