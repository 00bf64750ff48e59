import { Command } from 'commander';
import { InterruptedError } from '../errors.ts';
import { DeviceFile } from '../flash/device-file.ts';
import { cacheFile, type DeviceProfile, saveProfile } from '../flash/device-profile.ts';
import { pageCacheHint } from '../flash/page-cache.ts';
import {
  type CellRequest,
  measureCell,
  type ProbeCell,
  probeChunks,
  probeDepths,
  profileFrom,
} from '../flash/probe.ts';
import { probeFileIn } from '../flash/probe-file.ts';
import { formatBytes } from '../units.ts';
import { interruption } from './interrupt.ts';
import { jsonOption } from './options.ts';
import { table } from './table.ts';
import { note, print, printJson, showProgress } from './terminal.ts';

interface ProbeFlags {
  readonly json?: boolean;
}

export function probeCommand(): Command {
  return new Command('probe')
    .description("measure the read throughput of a directory's device, and save its profile")
    .argument('[dir]', 'a model, or any directory on the device', '.')
    .addOption(jsonOption())
    .action(run);
}

const cellMs = 200;
/**
 * Buffered reads are measured at the lowest and the highest depth only: each cell needs its own part of
 * the file.
 */
const bufferedDepths = [1, 32];

async function run(dir: string, flags: ProbeFlags): Promise<void> {
  const progress = showProgress('probing', flags.json);
  const file = await probeFileIn(dir);
  try {
    const total = probeChunks.length * (probeDepths.length + bufferedDepths.length);
    let done = 0;
    const onCell = () => {
      if (interruption.aborted) throw new InterruptedError();
      progress.update(++done, total);
    };
    // Buffered reads come first: afterwards the device's own cache holds parts of the file.
    const buffered = await measureBuffered(file.path, onCell);
    const direct = await measureDirect(file.path, onCell);
    progress.stop();
    const profile = profileFrom(direct.length > 0 ? direct : buffered);
    const kept = await saveProfile(dir, profile);
    const profileFile = kept ? cacheFile() : null;
    if (flags.json) {
      printJson({ dir, fileBytes: file.bytes, direct, buffered, profile, profileFile });
    } else {
      report(direct, buffered, profile, profileFile);
    }
  } finally {
    progress.stop();
    await file.release();
  }
}

async function measureDirect(path: string, onCell: () => void): Promise<ProbeCell[]> {
  return withFile(path, true, async (file) => {
    if (!file.direct) return [];
    return measureAll(
      file,
      probeChunks.flatMap((chunk) => probeDepths.map((depth) => ({ chunk, depth, ms: cellMs }))),
      onCell,
    );
  });
}

async function measureBuffered(path: string, onCell: () => void): Promise<ProbeCell[]> {
  return withFile(path, false, (file) => {
    const cells = probeChunks.flatMap((chunk) => bufferedDepths.map((depth) => ({ chunk, depth })));
    const bytes = Math.floor(file.size / cells.length / 4096) * 4096;
    return measureAll(
      file,
      cells.map((cell, index) => ({ ...cell, ms: cellMs, from: index * bytes, bytes })),
      onCell,
    );
  });
}

async function measureAll(
  file: DeviceFile,
  requests: readonly CellRequest[],
  onCell: () => void,
): Promise<ProbeCell[]> {
  const cells: ProbeCell[] = [];
  for (const request of requests) {
    cells.push(await measureCell(file, request));
    onCell();
  }
  return cells;
}

async function withFile<T>(
  path: string,
  direct: boolean,
  work: (file: DeviceFile) => Promise<T>,
): Promise<T> {
  const file = await DeviceFile.open(path, undefined, direct);
  try {
    return await work(file);
  } finally {
    file.close();
  }
}

function report(
  direct: readonly ProbeCell[],
  buffered: readonly ProbeCell[],
  profile: DeviceProfile,
  profileFile: string | null,
): void {
  print('MiB/s by bytes per read (rows) and reads in flight (columns)\n\n');
  if (direct.length > 0) print(`${grid('direct', direct)}\n`);
  else
    note(
      `${pageCacheHint()}. The system may serve recently written data from memory, so the figures may be too high.`,
    );
  print(`${grid('buffered', buffered)}\n`);
  print(
    `A single 4 KiB read takes ${profile.latencyMs.toFixed(2)} ms. The device delivers ` +
      `${formatBytes(profile.bandwidth)}/s with reads of ${formatBytes(profile.smallestPiece)} or more, ` +
      `${profile.depth} in flight. Two reads up to ${formatBytes(profile.breakEvenGap)} apart are merged into one.\n`,
  );
  note(profileFile === null ? 'the profile could not be saved' : `profile saved in ${profileFile}`);
}

function grid(name: string, cells: readonly ProbeCell[]): string {
  const depths = [...new Set(cells.map(({ depth }) => depth))];
  const chunks = [...new Set(cells.map(({ chunk }) => chunk))];
  return table(
    [name, ...depths.map(String)],
    chunks.map((chunk) => [
      formatBytes(chunk),
      ...depths.map((depth) => {
        const cell = cells.find((found) => found.chunk === chunk && found.depth === depth);
        return cell === undefined ? '' : (cell.bytesPerSecond / 1024 ** 2).toFixed(0);
      }),
    ]),
  );
}
