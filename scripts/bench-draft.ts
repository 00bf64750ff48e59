/**
 * What drafts gain: tokens per second, tokens per pass and bytes per token with each draft compared with no
 * draft, when editing code (fixtures/drafts: 20 tasks), completing code, and for prose. Each run is a process
 * of its own, and runs alternate; every text is compared with the one without a draft.
 *
 *   UV_THREADPOOL_SIZE=8 node --import tsx scripts/bench-draft.ts <model> --budget <size>
 *       [--drafts lookup,<model>] [--kinds edits,code,prose] [--tasks 20] [--tokens 128] [--seconds <s>]
 *       [--rounds 1] [--draft-tokens <n>] [--draft-budget <size>] [--head-rows <n>] [--always]
 *       [--temperature 0] [--threads <n>] [--json]
 *
 * The script prints each finished task on standard error, and each row as soon as all its runs are done.
 * With `--seconds` a run ends with the token at which its decoding has taken that long; texts are then
 * compared up to the end of the shorter one.
 *
 * `--drafts right:0.8` proposes the right token with a given probability a, so that the measurement can be
 * compared with theory: (1 - a^(k + 1)) / (1 - a) tokens per pass.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chatPrompt } from '../src/chat/chat.ts';
import { templatesOf } from '../src/chat/chat-templates.ts';
import { commonLength, generate } from '../src/engine/generate.ts';
import { Model } from '../src/engine/model.ts';
import type { RunRequest } from '../src/engine/run-request.ts';
import { Runtime } from '../src/engine/runtime.ts';
import { bestLogits, usualSampling } from '../src/engine/sampler.ts';
import { draftHeadRows, openDraft, withDraft } from '../src/engine/speculation/open-draft.ts';
import { loadProfile } from '../src/flash/device-profile.ts';
import { parseSize, resolveSize } from '../src/units.ts';
import { median } from './median.ts';
import { RightDrafter } from './right-drafter.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    budget: text('60%'),
    drafts: text('lookup'),
    kinds: text('edits,code,prose'),
    tasks: text('20'),
    tokens: text('128'),
    seconds: text(''),
    rounds: text('1'),
    'draft-tokens': text(''),
    'draft-budget': text(''),
    'head-rows': text(String(draftHeadRows)),
    always: { type: 'boolean', default: false },
    temperature: text('0'),
    threads: text(''),
    json: { type: 'boolean', default: false },
    run: text(''),
    kind: text(''),
  },
});
const [dir] = positionals;
if (dir === undefined) {
  process.stderr.write(
    'usage: bench-draft.ts <model> [--budget <size>] [--drafts lookup,<model>]\n',
  );
  process.exit(2);
}

interface Figures {
  /** Of all tasks, by task. */
  readonly texts: readonly (readonly number[])[];
  readonly tokens: number;
  readonly decodeMs: number;
  /** Of the whole process while it decoded. */
  readonly processorMs: number;
  readonly bytesPerToken: number;
  readonly acceptance: number;
  readonly tokensPerPass: number;
  readonly draftMs: number;
  readonly streamedBytes: number;
}

interface Edits {
  readonly files: Readonly<Record<string, string>>;
  readonly tasks: readonly { readonly file: string; readonly change: string }[];
}

function fixture<T>(name: string): T {
  const path = fileURLToPath(new URL(`../fixtures/drafts/${name}.json`, import.meta.url));
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}

/** The prompt ids of a kind's tasks; edits are user messages if the model has a chat template. */
async function prompts(model: Model, kind: string): Promise<readonly (readonly number[])[]> {
  const most = Number(values.tasks);
  if (kind !== 'edits') {
    return fixture<string[]>(kind)
      .slice(0, most)
      .map((prompt) => model.tokenizer.encodePrompt(prompt));
  }
  const { files, tasks } = fixture<Edits>('edits');
  const templates = await templatesOf(model);
  return Promise.all(
    tasks.slice(0, most).map(({ file, change }) => {
      const content = `Change this file. ${change} Answer with the whole file.\n\n\`\`\`\n${files[file]}\`\`\``;
      const messages = [{ role: 'user', content }] as const;
      return chatPrompt(model, messages, { templates, addGenerationPrompt: true });
    }),
  );
}

/** Generates all texts of a kind in this process, with one draft or without. */
async function measure(dirOfModel: string, kind: string, draft: string): Promise<Figures> {
  const open = async (path: string, more: { readonly headRows?: number } = {}) =>
    Model.open(path, { profile: await loadProfile(path), ...more });
  const model = await open(dirOfModel);
  const small = /^(none|lookup|right:.*)$/.test(draft)
    ? null
    : await open(draft, { headRows: Number(values['head-rows']) });
  const all = await prompts(model, kind);
  const maxTokens = Number(values.tokens);
  const sampling = { ...usualSampling, temperature: Number(values.temperature), seed: 1 };
  const plain: RunRequest = {
    budget: model.budgetOf(parseSize(values.budget, '--budget')).bytes,
    context: Math.max(...all.map(({ length }) => length)) + maxTokens,
    ffn: 'auto',
    ...bestLogits(sampling),
    ...(values.threads === '' ? {} : { threads: Number(values.threads) }),
  };
  const most = values['draft-tokens'] === '' ? undefined : Number(values['draft-tokens']);
  const bytes =
    small === null || values['draft-budget'] === ''
      ? undefined
      : resolveSize(parseSize(values['draft-budget'], '--draft-budget'), small.weightBytes);
  const source = small ?? ('lookup' as const);
  const options = { source, most, bytes, always: values.always };
  const request = draft === 'none' ? plain : withDraft(model, plain, options);
  const runtime = await Runtime.open(model, request);
  const opened = draft === 'none' ? null : await openDraft(runtime, request, options);
  const sequence = runtime.sequence();
  const totals = { tokens: 0, decodeMs: 0, processorMs: 0, bytes: 0, draftMs: 0 };
  const [accepted, perPass]: number[][] = [[], []];
  const texts: (readonly number[])[] = [];
  const mostMs = values.seconds === '' ? Number.POSITIVE_INFINITY : 1000 * Number(values.seconds);
  for (const promptIds of all) {
    if (totals.decodeMs >= mostMs) break;
    sequence.rewind();
    const call = { promptIds, maxTokens, sampling };
    let drafter = opened?.drafter;
    if (draft.startsWith('right:')) {
      const { tokens } = await generate(sequence, call);
      const chance = Number(draft.slice('right:'.length));
      drafter = new RightDrafter(runtime, [...promptIds, ...tokens], chance, most ?? 8);
      sequence.rewind(promptIds.length);
    }
    let processor = process.cpuUsage();
    let bytes = 0;
    let begun = Number.NaN;
    const read = () =>
      model.files.scheduler.stats.snapshot().bytes + (opened?.drafter.flashBytes ?? 0);
    const enough = new AbortController();
    const { tokens, stats } = await generate(sequence, {
      ...{ ...call, draft: drafter, signal: enough.signal },
      onText: () => {
        if (Number.isNaN(begun)) {
          [processor, bytes, begun] = [process.cpuUsage(), read(), performance.now()];
        }
        if (totals.decodeMs + performance.now() - begun >= mostMs) enough.abort();
      },
    });
    const used = process.cpuUsage(processor);
    texts.push(tokens);
    totals.tokens += tokens.length;
    totals.decodeMs += stats.decodeMs;
    totals.processorMs += (used.user + used.system) / 1000;
    const taskBytes = read() - bytes;
    totals.bytes += taskBytes;
    totals.draftMs += stats.draftMs ?? 0;
    accepted?.push(stats.acceptance ?? 0);
    perPass?.push(stats.tokensPerPass ?? 1);
    const rate = (1000 * totals.tokens) / totals.decodeMs;
    const megabytes = taskBytes / tokens.length / 1e6;
    process.stderr.write(
      `${kind}, ${draft}: task ${texts.length} of ${all.length}, ${stats.tokensPerSecond.toFixed(2)} tokens/s, ` +
        `${megabytes.toFixed(0)} MB/token${stats.draftRetired ? ', the draft is closed' : ''}; ` +
        `${rate.toFixed(2)} tokens/s so far\n`,
    );
  }
  const { streamedBytes } = runtime.plan;
  await opened?.close();
  await runtime.close();
  model.close();
  small?.close();
  const mean = (list: readonly number[] = []) =>
    list.reduce((sum, value) => sum + value, 0) / list.length;
  return {
    ...{ texts, ...totals, streamedBytes },
    bytesPerToken: totals.bytes / totals.tokens,
    acceptance: mean(accepted),
    tokensPerPass: mean(perPass),
  };
}

/** Whether texts are the same; with `--seconds`, up to the end of the shorter one. */
function areSame(texts: Figures['texts'], others: Figures['texts']): boolean {
  if (values.seconds === '') return JSON.stringify(texts) === JSON.stringify(others);
  return texts.every((tokens, task) => {
    const other = others[task] ?? [];
    return commonLength(tokens, other) === Math.min(tokens.length, other.length);
  });
}

function runApart(kind: string, draft: string): Figures {
  const args = [...process.execArgv, ...process.argv.slice(1), '--run', draft, '--kind', kind];
  const output = execFileSync(process.execPath, args, {
    ...{ stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 28 },
  });
  return JSON.parse(output.toString()) as Figures;
}

if (values.run !== '') {
  process.stdout.write(JSON.stringify(await measure(dir, values.kind, values.run)));
} else {
  const drafts = ['none', ...values.drafts.split(',')];
  const rows: object[] = [];
  process.stdout.write(
    `${dir}, ${values.budget}, ${values.tokens} tokens each, temperature ${values.temperature}\n\n` +
      '| kind | draft | tokens/s | times none | processor ms/token | times none | MB/token | accepted | tokens per pass | text |\n' +
      '|---|---|---|---|---|---|---|---|---|---|\n',
  );
  for (const kind of values.kinds.split(',')) {
    const runs = new Map<string, Figures[]>(drafts.map((draft) => [draft, []]));
    const rounds = Number(values.rounds);
    for (const [run, draft] of Array.from({ length: rounds }, () => drafts)
      .flat()
      .entries()) {
      const own = runs.get(draft) ?? [];
      own.push(runApart(kind, draft));
      if (run < (rounds - 1) * drafts.length) continue;
      const none = runs.get('none') ?? [];
      const rate = ({ tokens, decodeMs }: Figures) => (1000 * tokens) / decodeMs;
      const cost = ({ tokens, processorMs }: Figures) => processorMs / tokens;
      const times = (of: (figures: Figures) => number) =>
        median(own.map((figures, round) => of(figures) / of(none[round] as Figures)));
      const of = (key: 'bytesPerToken' | 'acceptance' | 'tokensPerPass') =>
        median(own.map((figures) => figures[key]));
      const same = own.every(({ texts }, round) => areSame(texts, none[round]?.texts ?? []));
      const row = {
        ...{ kind, draft, tokensPerSecond: median(own.map(rate)), times: times(rate) },
        ...{ processorMsPerToken: median(own.map(cost)), processorTimes: times(cost) },
        bytesPerToken: of('bytesPerToken'),
        acceptance: of('acceptance'),
        tokensPerPass: of('tokensPerPass'),
        same,
      };
      rows.push(row);
      process.stdout.write(
        `| ${kind} | ${draft} | ${row.tokensPerSecond.toFixed(2)} | ${row.times.toFixed(2)} | ` +
          `${row.processorMsPerToken.toFixed(0)} | ${row.processorTimes.toFixed(2)} | ` +
          `${(row.bytesPerToken / 1e6).toFixed(0)} | ${(100 * row.acceptance).toFixed(0)}% | ` +
          `${row.tokensPerPass.toFixed(2)} | ${same ? 'the same' : 'ANOTHER'} |\n`,
      );
    }
  }
  if (values.json) process.stdout.write(`${JSON.stringify(rows)}\n`);
}
