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
import { table } from './table.ts';
import { note, print, printJson } from './terminal.ts';

/** The result of one check. */
interface Finding {
  readonly name: string;
  readonly value: string | number | boolean | null;
  /** The value as text for people. */
  readonly text: string;
  /** What the user can do about it, if anything. */
  readonly hint?: string;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('show the capabilities of this machine, and what would make models run faster')
    .argument('[dir]', 'directory of the models', '.')
    .addOption(jsonOption())
    .action(run);
}

async function run(dir: string, flags: { readonly json?: boolean }): Promise<void> {
  const found = await stat(dir).catch(() => null);
  if (found === null || !found.isDirectory()) {
    throw new InputError(
      found === null ? 'no such directory' : 'is not a directory',
      { file: dir },
      'Give the directory of your models',
    );
  }
  const findings = [...processFindings(), ...memoryFindings(), ...(await deviceFindings(dir))];
  if (flags.json) {
    printJson(Object.fromEntries(findings.map(({ name, value }) => [name, value])));
    return;
  }
  print(
    table(
      ['property', 'value'],
      findings.map(({ name, text }) => [labels[name] ?? name, text]),
    ),
  );
  for (const { hint } of findings) if (hint !== undefined) note(`${hint}.`);
}

/** Labels in the table, by JSON key. */
const labels: Readonly<Record<string, string>> = {
  version: 'flashllm',
  node: 'Node.js',
  system: 'system',
  core: 'compute core',
  threads: 'compute threads',
  availableMemory: 'available memory',
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
        hint: 'This version of Node.js does not support relaxed SIMD, which is up to 1.5 times as fast. A newer version may support it',
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
        hint: 'Node.js alone takes about 60 MiB, so only small models fit in the rest. Close other programs',
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
        direct === null
          ? 'unknown: the directory is not writable, so it could not be tested'
          : direct
            ? 'yes'
            : 'no',
      ...(direct === false && { hint: pageCacheHint() }),
    },
    {
      name: 'deviceBandwidth',
      value: measured ? profile.bandwidth : null,
      text: measured ? `${formatBytes(profile.bandwidth)}/s` : 'not measured',
      ...(!measured && {
        hint: `Run "flashllm probe ${dir}" to measure the device, so that plans are accurate`,
      }),
    },
  ];
}

/** Whether direct I/O works for files in `dir`; null if no file can be created there. */
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
