/**
 * Compares policies of the store of experts by their hit rate. The script records the experts that routers
 * choose once, and replays them on every policy and size of the store, and on a store that knows the future.
 *
 *     node --import tsx scripts/expert-policies.ts <model> <text> [--generate] [--tokens <n>] [--seed <n>]
 *         [--chart <file.svg>]
 *
 * With --generate, the text is a prompt, and the choices are recorded while the model continues it.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { policyChart } from './moe/policy-chart.ts';
import { bestHitRate, hitRate, studiedPolicies } from './moe/policy-study.ts';
import { recordTrace, repeatedShare } from './moe/trace.ts';

const residencies = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    generate: { type: 'boolean', default: false },
    tokens: { type: 'string', default: '4000' },
    seed: { type: 'string', default: '1' },
    chart: { type: 'string' },
  },
});
const [dir, textFile] = positionals;
if (dir === undefined || textFile === undefined) throw new Error('give a model and a text');

const trace = await recordTrace(dir, {
  text: readFileSync(textFile, 'utf8'),
  tokens: Number(values.tokens),
  generated: values.generate,
  seed: Number(values.seed),
});
const { experts, topK, layers } = trace;
const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
const say = (line: string) => process.stdout.write(`${line}\n`);
say(
  `${layers[0]?.lists.length ?? 0} tokens, ${layers.length} layers of ${experts} experts, ${topK} for each ` +
    `token; ${percent(repeatedShare(trace))} of the choices repeat at the next token ` +
    `(by chance ${percent(topK / experts)})\n`,
);

const slots = residencies.map((share) => Math.max(1, Math.round(share * experts)));
const rows = [...studiedPolicies].map(([name, make]) => ({
  name,
  hits: slots.map((count) => hitRate(trace, make, count)),
}));
rows.push({ name: 'a store that knows the future', hits: slots.map((n) => bestHitRate(trace, n)) });

say('Experts in the store (of all) and wanted ones that it hits:\n');
say(`| policy | ${residencies.map((share, i) => `${percent(share)} (${slots[i]})`).join(' | ')} |`);
say(`|---|${residencies.map(() => '---').join('|')}|`);
for (const { name, hits } of rows) say(`| ${name} | ${hits.map(percent).join(' | ')} |`);
if (values.chart !== undefined) writeFileSync(values.chart, policyChart(residencies, rows));
