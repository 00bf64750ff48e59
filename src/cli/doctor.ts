import { stat } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { addressLimit } from '../address-space.ts';
import { createFile, writeFully } from '../aside.ts';
import { controlGroups } from '../control-groups.ts';
import { InputError } from '../errors.ts';
import { DeviceFile } from '../flash/device-file.ts';
import { loadProfile } from '../flash/device-profile.ts';
import { pageCacheHint } from '../flash/page-cache.ts';
import { freeBytes } from '../free-space.ts';
import { chooseBuild } from '../kernels/module.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import { removeEntry } from '../moving-files.ts';
import { ownedName } from '../owned.ts';
import { availableMemory } from '../plan/available.ts';
import { formatBytes, MIB } from '../units.ts';
import { version } from '../version.ts';
import { jsonOption } from './options.ts';
import { note, print, printJson, table } from './terminal.ts';

/** One thing that was looked at. */
interface Finding {
  readonly name: string;
  readonly value: string | number | boolean | null;
  /** As people read it. */
  readonly text: string;
  /** What to do about it, where something can be done. */
  readonly hint?: string;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('tell what this machine can do, and what would make it faster')
    .argument('[dir]', 'where models are, or shall be', '.')
    .addOption(jsonOption())
    .action(run);
}

async function run(dir: string, flags: { readonly json?: boolean }): Promise<void> {
  const found = await stat(dir).catch(() => null);
  if (found === null || !found.isDirectory()) {
    throw new InputError('is not a directory', { file: dir }, 'Give the directory of your models');
  }
  const findings = [...processFindings(), ...memoryFindings(), ...(await deviceFindings(dir))];
  if (flags.json) {
    printJson(Object.fromEntries(findings.map(({ name, value }) => [name, value])));
    return;
  }
  print(
    table(
      ['what', 'here'],
      findings.map(({ name, text }) => [labels[name] ?? name, text]),
    ),
  );
  for (const { hint } of findings) if (hint !== undefined) note(`${hint}.`);
}

/** What people read, by JSON key. */
const labels: Readonly<Record<string, string>> = {
  version: 'flashllm',
  node: 'Node.js',
  system: 'system',
  core: 'compute core',
  threads: 'compute threads',
  availableMemory: 'memory to use',
  memoryLimitedBy: 'memory is limited by',
  totalMemory: 'memory of the machine',
  controlGroup: 'control group',
  addressSpace: 'address space',
  freeDisk: 'free disk',
  directIo: 'direct I/O',
  deviceBandwidth: 'device reads',
};

function processFindings(): Finding[] {
  const core = chooseBuild();
  const threads = availableThreads();
  const system = `${process.platform} ${process.arch}`;
  return [
    { name: 'version', value: version, text: version },
    { name: 'node', value: process.version, text: process.version },
    { name: 'system', value: system, text: system },
    {
      name: 'core',
      value: core,
      text: core === 'relaxed' ? 'relaxed SIMD' : 'plain SIMD',
      ...(core === 'plain' && {
        hint: 'This Node does not run relaxed SIMD, which is up to 1.5 times as fast: a newer one may',
      }),
    },
    { name: 'threads', value: threads, text: String(threads) },
  ];
}

function memoryFindings(): Finding[] {
  const { bytes, source } = availableMemory();
  const limiters = {
    machine: 'the machine',
    cgroup: 'a control group',
    limit: 'a limit on this process',
  };
  const [group] = controlGroups('memory');
  const limit = addressLimit();
  const groupText = group === undefined ? 'none' : `version ${group.version}, ${group.dir}`;
  return [
    {
      name: 'availableMemory',
      value: bytes,
      text: formatBytes(bytes),
      ...(bytes < 256 * MIB && {
        hint: 'Node alone takes some 60 MiB: only small models fit what is left; end other programs',
      }),
    },
    { name: 'memoryLimitedBy', value: source, text: limiters[source] },
    { name: 'totalMemory', value: totalmem(), text: formatBytes(totalmem()) },
    { name: 'controlGroup', value: group?.dir ?? null, text: groupText },
    {
      name: 'addressSpace',
      value: limit?.left ?? null,
      text: limit === null ? 'not limited' : `${formatBytes(limit.left)} left of ${limit.name}`,
    },
  ];
}

async function deviceFindings(dir: string): Promise<Finding[]> {
  const free = await freeBytes(dir);
  const direct = await readsDirectly(dir);
  const profile = await loadProfile(dir);
  const measured = profile.source === 'measured';
  return [
    { name: 'freeDisk', value: free, text: formatBytes(free) },
    {
      name: 'directIo',
      value: direct,
      text:
        direct === null ? 'cannot be tried: the directory is not writable' : direct ? 'yes' : 'no',
      ...(direct === false && { hint: pageCacheHint() }),
    },
    {
      name: 'deviceBandwidth',
      value: measured ? profile.bandwidth : null,
      text: measured ? `${formatBytes(profile.bandwidth)}/s` : 'not measured',
      ...(!measured && {
        hint: `"flashllm probe ${dir}" measures the device, for plans to be right`,
      }),
    },
  ];
}

/** Whether files in `dir` can be read past the page cache; null where none can be made. */
async function readsDirectly(dir: string): Promise<boolean | null> {
  const path = ownedName(join(resolve(dir), '.flashllm'), 'probe');
  try {
    const made = await createFile(path);
    await writeFully(made, new Uint8Array(8192), 0);
    await made.close();
    const file = await DeviceFile.open(path);
    file.close();
    return file.direct;
  } catch {
    return null;
  } finally {
    await removeEntry(path);
  }
}
