/** Runs the command line on a terminal of its own, by `script` of util-linux. */

import { spawn, spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launcher } from './cli.ts';

/** Whether there is a `script` that runs a command and ends as it does. */
export const hasTerminal =
  process.platform === 'linux' &&
  /util-linux/.test(spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout ?? '');

export interface Terminal {
  /** Everything that was shown since the terminal was opened. */
  readonly shown: () => string;
  type(keys: string): void;
  /** Waits until what is shown behind the last match has this; fails after a while. */
  see(pattern: RegExp): Promise<RegExpExecArray>;
  /** The exit code. */
  readonly ended: Promise<number | null>;
}

const patienceMs = 30_000;

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Starts `flashllm` with `args` on a terminal of 80 columns. */
export function openTerminal(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Terminal {
  const command = [process.execPath, launcher, ...args].map(quoted).join(' ');
  const { FORCE_COLOR: _, NO_COLOR: __, ...inherited } = process.env;
  const child = spawn('script', ['-qec', `stty cols 80 rows 24; exec ${command}`, '/dev/null'], {
    env: {
      ...inherited,
      TERM: 'xterm',
      FLASHLLM_CACHE: join(tmpdir(), `flashllm-no-cache-${process.pid}`),
      ...env,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  let seen = 0;
  let changed = () => {};
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    changed();
  });
  child.stdin.on('error', () => {});
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      changed();
      resolve(code);
    });
  });
  return {
    shown: () => shown,
    type: (keys) => child.stdin.write(keys),
    ended,
    async see(pattern) {
      const started = performance.now();
      for (;;) {
        const match = pattern.exec(shown.slice(seen));
        if (match !== null) {
          seen += match.index + match[0].length;
          return match;
        }
        const left = patienceMs - (performance.now() - started);
        if (left <= 0 || child.exitCode !== null) {
          child.kill();
          throw new Error(`${pattern} was not shown, but ${JSON.stringify(shown.slice(seen))}`);
        }
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, left);
          changed = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    },
  };
}
