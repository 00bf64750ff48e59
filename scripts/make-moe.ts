/**
 * Writes a GGUF of a mixture of experts of real geometry with synthetic weights in 4 bits, at the speed
 * of the disk, to measure at sizes whose real weights are not at hand. The experts that its tokens choose
 * repeat as those of trained models do (scripts/moe/locality.ts); the text that it generates is noise. Its
 * vocabulary is GPT-2's, padded, so that prompts can be English text.
 *
 *   node --import tsx scripts/make-moe.ts <qwen3-30b-a3b|olmoe-1b-7b|gpt-oss-20b> <file.gguf>
 *       [--layers <n>] [--repeat <share of choices that repeat at the next token, 0.42>] [--dry-run]
 */

import { parseArgs } from 'node:util';
import { writeGguf } from './gguf/writer.ts';
import { moeGeometries } from './moe/geometries.ts';
import { drawnTokens, kernelOf, mixFor, predictLocality } from './moe/locality.ts';
import { madeMetadata } from './moe/metadata.ts';
import { madeTensors } from './moe/tensors.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: 'string' },
    repeat: { type: 'string', default: '0.42' },
    'dry-run': { type: 'boolean', default: false },
  },
});
const [name = '', file = ''] = positionals;
const whole = moeGeometries[name];
if (whole === undefined || (file === '' && !values['dry-run'])) {
  const names = Object.keys(moeGeometries).join('|');
  process.stderr.write(
    `usage: make-moe.ts <${names}> <file.gguf> [--layers <n>] [--repeat <share>]\n`,
  );
  process.exit(2);
}
const geometry = { ...whole, layers: Number(values.layers ?? whole.layers) };
const say = (line: string) => process.stderr.write(`${line}\n`);
const percent = (share: number) => `${(100 * share).toFixed(0)}%`;

const mix = mixFor(geometry, Number(values.repeat));
const { repeated, hits } = predictLocality(
  mix,
  kernelOf(geometry, mix.steepness, drawnTokens),
  geometry,
);
say(
  `by construction ${percent(repeated)} of the choices repeat at the next token; a store of the least ` +
    `recently used hits ${[...hits].map(([share, hit]) => `${percent(hit)} with ${percent(share)}`).join(', ')} ` +
    `of the experts (scripts/expert-policies.ts measures it)`,
);
const tensors = madeTensors(geometry, mix);
const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
const experts = tensors.filter((tensor) => tensor.name.includes('_exps.'));
const expertBytes = experts.reduce((sum, tensor) => sum + tensor.bytes, 0);
const perExpert = expertBytes / (geometry.layers * geometry.experts);
say(
  `${(bytes / 1e9).toFixed(2)} GB, of these ${(expertBytes / 1e9).toFixed(2)} GB in experts of ` +
    `${(perExpert / 1e6).toFixed(2)} MB; a token takes ` +
    `${((perExpert * geometry.layers * geometry.topK) / 1e9).toFixed(2)} GB of them`,
);
if (!values['dry-run']) {
  const started = performance.now();
  const written = await writeGguf(file, await madeMetadata(name, geometry, mix), tensors);
  const seconds = (performance.now() - started) / 1000;
  say(`${file}: ${seconds.toFixed(1)} s, ${(written / 1e6 / seconds).toFixed(0)} MB/s`);
}
