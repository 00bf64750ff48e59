/** With few open files everything works, or the limit is named. */

import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { runCli, runCliWell } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { hasLimits, underLimit } from '../support/ulimit.ts';

const root = temporaryRoot();
const limit = '-n 64';
let model = '';
before(async () => {
  model = await convert(storiesOpt, join(root.path, 'model'));
});

/** The checkpoint with every tensor in a shard of its own: 100 files. */
function sharded(): string {
  const dir = join(root.directory(), 'sharded');
  const isWeights = (path: string) => path.endsWith('.safetensors');
  cpSync(storiesOpt, dir, { recursive: true, filter: (path) => !isWeights(path) });
  const whole = readFileSync(join(storiesOpt, 'model.safetensors'));
  const headerBytes = Number(whole.readBigUInt64LE());
  const header = JSON.parse(whole.toString('utf8', 8, 8 + headerBytes)) as Record<
    string,
    { readonly data_offsets: readonly [number, number] }
  >;
  const data = whole.subarray(8 + headerBytes);
  const weight_map: Record<string, string> = {};
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const bytes = data.subarray(...tensor.data_offsets);
    const own = JSON.stringify({ [name]: { ...tensor, data_offsets: [0, bytes.length] } });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(own.length));
    const file = `model-${Object.keys(weight_map).length}.safetensors`;
    writeFileSync(join(dir, file), Buffer.concat([length, Buffer.from(own), bytes]));
    weight_map[name] = file;
  }
  writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
  return dir;
}

describe('with 64 open files', () => {
  const generate = () => ['generate', model, '--prompt', 'Once', '--max-tokens', '4'];
  const greedy = ['--temperature', '0', '--dram-budget', '256MiB'];

  it('generate gives the same text', async (t) => {
    if (!hasLimits(t, limit)) return;
    const args = [...generate(), ...greedy, '--threads', '4'];
    const { stdout } = await runCliWell(args, { under: underLimit(limit) });
    assert.equal(stdout, (await runCliWell(args)).stdout);
  });

  it('convert reads more shards than that', async (t) => {
    if (!hasLimits(t, limit)) return;
    const checkpoint = sharded();
    assert.ok(readdirSync(checkpoint).length > 100);
    const output = join(root.directory(), 'model');
    await runCliWell(['convert', checkpoint, output], { under: underLimit(limit) });
    const weights = (dir: string) => readFileSync(join(dir, 'bundles.safetensors'));
    assert.ok(weights(output).equals(weights(model)));
  });

  it('more threads than have room are refused by name', async (t) => {
    if (!hasLimits(t, limit)) return;
    const args = [...generate(), '--threads', '32', '--dram-budget', '1GiB'];
    const { code, stderr } = await runCli(args, { under: underLimit(limit) });
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /^error: too many open files: this process may have 64 \(ulimit -n\)\. Raise the limit, or give fewer than 32 --threads\.$/m,
    );
  });
});

it('with too few open files for anything, that is told', async (t) => {
  if (!hasLimits(t, '-n 24')) return;
  const { code, stderr } = await runCli(['inspect', model], { under: underLimit('-n 24') });
  assert.equal(code, 1);
  assert.match(stderr, /too many open files.*Raise the limit/);
});
