/** The commands that run on an input of each kind, as its users would run them. */

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { templatesInFile } from '../../src/chat/chat-templates.ts';
import type { ChatMessage, ChatTool } from '../../src/chat/messages.ts';
import { openGguf } from '../../src/checkpoint/gguf/gguf-file.ts';
import { openSafetensors } from '../../src/checkpoint/safetensors.ts';
import type { SourceTensor, TensorSource } from '../../src/checkpoint/source.ts';
import { sourceDTypes } from '../../src/checkpoint/source-dtype.ts';
import { openTorch } from '../../src/checkpoint/torch.ts';
import { targetFormats } from '../../src/convert/target-formats.ts';
import { readBpeFiles } from '../../src/tokenizer/from-bpe-files.ts';
import { tokenizerFromGguf } from '../../src/tokenizer/from-gguf.ts';
import { readSentencePiece } from '../../src/tokenizer/sentencepiece/from-model-file.ts';
import { sentencePieceFile } from '../../src/tokenizer/sentencepiece/model-file.ts';
import { StreamDecoder } from '../../src/tokenizer/stream-decoder.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import type { Dice } from '../../test/support/random.ts';
import { type Route, roomyBudget, trainedTokens } from './corpus.ts';
import type { Trial } from './trial.ts';

const roomy = ['--dram-budget', String(roomyBudget)];
const lone = [...roomy, '--threads', '1'];
const prompt = 'Once upon';
const short = ['--prompt', prompt, '--max-tokens', '3', '--temperature', '0'];
const sampled = [
  '--prompt',
  prompt,
  '--max-tokens',
  '3',
  '--seed',
  '1',
  '--repetition-penalty',
  '1.1',
];

/** Some of the committed conversations: a template that never ends takes two seconds for each. */
const conversations = (
  JSON.parse(
    readFileSync(new URL('../../fixtures/templates/conversations.json', import.meta.url), 'utf8'),
  ) as readonly Conversation[]
).filter(({ name }) => /^(system and user|three turns|text parts|two tool calls)$/.test(name));

interface Conversation {
  readonly name: string;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ChatTool[];
}

type Walk = (trial: Trial, dice: Dice) => Promise<void>;

/** `name` below the case's directory. */
const at = ({ dir }: Trial, ...names: readonly string[]) => join(dir, ...names);

/** Reasons for which any model may refuse a prompt: they are not faults of the conversion. */
const promptRefusals =
  /prompt|vocabulary of the tokenizer|leave it out of the text|below the floor/;

/** A checkpoint: inspected, planned, converted; the result must be a model. */
async function convertible(trial: Trial, dice: Dice, path: string): Promise<void> {
  const inspected = await trial.run('inspect', path, '--json');
  if (dice.chance(0.3)) await trial.run('inspect', path);
  if (dice.chance(0.3)) await trial.run('plan', path, ...lone);
  const output = at(trial, 'out');
  const dtype = dice.chance(0.3) ? ['--dtype', dice.pick(targetFormats)] : [];
  const flags = [output, ...dtype, ...roomy];
  const dry = await trial.run('convert', path, ...flags, '--dry-run');
  if (inspected.faults.length === 0 && dry.faults.length === 0) {
    const { runs, problems } = runsOf(inspected.stdout);
    const alike = runs === dry.done || /below the floor|the disk has/.test(dry.refusal);
    if (!alike) {
      trial.broken(
        'inspect and convert disagree',
        `${problems || 'runs'} | ${dry.refusal || 'runs'}`,
      );
    }
  }
  const converted = await trial.run('convert', path, ...flags);
  const left = readdirSync(trial.dir).filter((name) => name.startsWith('out'));
  if (left.join() !== (converted.done ? 'out' : '')) {
    trial.broken('something is left behind', left.join(', '));
  }
  if (converted.done) await mustRun(trial, dice, output);
}

function runsOf(json: string): { runs: boolean; problems: string } {
  try {
    const { runs, problems } = JSON.parse(json) as { runs: boolean; problems: string[] };
    return { runs, problems: problems.join('; ') };
  } catch {
    return { runs: false, problems: 'refused' };
  }
}

/** A model that was just written opens, is intact, and generates. */
async function mustRun(trial: Trial, dice: Dice, model: string): Promise<void> {
  const verified = await trial.run('inspect', model, '--verify');
  if (!verified.done) trial.broken('a converted model is not intact', verified.refusal);
  const generated = await trial.run(
    'generate',
    model,
    ...(dice.chance(0.5) ? short : sampled),
    ...lone,
  );
  if (!generated.done && !promptRefusals.test(generated.refusal)) {
    trial.broken('a converted model does not generate', generated.refusal);
  }
}

const checkpoint: Walk = (trial, dice) => convertible(trial, dice, at(trial, 'subject'));

const gguf: Walk = (trial, dice) => {
  const names = existsSync(at(trial, 'subject')) ? readdirSync(at(trial, 'subject')).sort() : [];
  const name = names.find((found) => found.endsWith('.gguf')) ?? 'model.gguf';
  return convertible(trial, dice, at(trial, 'subject', name));
};

const model: Walk = async (trial, dice) => {
  const dir = at(trial, 'subject');
  await trial.run('inspect', dir, ...(dice.chance(0.5) ? ['--json'] : []));
  await trial.run('inspect', dir, '--verify');
  await trial.run('plan', dir, ...lone, ...(dice.chance(0.3) ? ['--exact'] : []));
  const exact = dice.chance(0.3) ? ['--exact'] : [];
  const kv = dice.chance(0.3) ? ['--kv-dtype', 'f16'] : [];
  const window = dice.chance(0.3) ? ['--window', '2'] : [];
  await trial.run(
    'generate',
    dir,
    ...(dice.chance(0.5) ? short : sampled),
    ...lone,
    ...exact,
    ...kv,
    ...window,
  );
};

/** Elements read of a tensor at once: an expanded one may claim any number. */
const mostElements = 4_096;

/** Opens a file of tensors and reads some ranges of each. */
const reader: Walk = async (trial, dice) => {
  for (const name of readdirSync(at(trial, 'subject'))) {
    const open = name.endsWith('.gguf')
      ? openGguf
      : name.endsWith('.pt')
        ? openTorch
        : openSafetensors;
    const source = await trial.attempt('open', () => open(at(trial, 'subject', name)));
    if (source === null) continue;
    await trial.attempt('read', () => readRanges(source, dice));
    await source.close();
  }
};

const rows: Readonly<Record<string, { readonly bytes: number } | undefined>> = sourceDTypes;

async function readRanges(source: TensorSource, dice: Dice): Promise<void> {
  for (const tensor of [...source.tensors.values()].slice(0, 100)) {
    const elements = elementsOf(tensor);
    const { bytes } = rows[tensor.dtype] ?? { bytes: 0 }; // what is only listed is not read
    if (bytes === 0) continue;
    for (let i = 0; i < 3; i++) {
      const start = Math.floor(dice.next() * elements);
      const count = Math.min(elements - start, mostElements);
      await tensor.read(start, count, Buffer.alloc(count * bytes));
    }
  }
}

const elementsOf = ({ shape }: SourceTensor) => shape.reduce((product, size) => product * size, 1);

const texts = [
  ...[
    '',
    'a',
    ' ',
    'Once upon a time, there was\n\n a girl.',
    "I'm 12345 years  old",
    'жёлтый 漢字 👍🏽',
  ],
  ...[
    '<|endoftext|></s><s><unk>',
    '\u0000\u001b\ufeff\u0085',
    '\ud83d',
    'e\u0301'.repeat(200),
    ' '.repeat(500),
  ],
];

/** A directory with a tokenizer.json; if the files are of another kind, one is made as conversion makes it. */
async function tokenizerDirectory(trial: Trial): Promise<string> {
  const dir = at(trial, 'subject');
  const names = readdirSync(dir);
  if (names.includes('tokenizer.json')) return dir;
  const made = at(trial, 'made');
  mkdirSync(made);
  const file = names.find((name) => name.endsWith('.gguf'));
  if (file === undefined) {
    const isPieces = names.includes(sentencePieceFile);
    const json = isPieces ? await readSentencePiece(dir) : await readBpeFiles(dir);
    writeFileSync(join(made, 'tokenizer.json'), JSON.stringify(json));
    return made;
  }
  const source = await openGguf(join(dir, file));
  await source.close();
  const { bytes, config } = tokenizerFromGguf(source.metadata, file);
  writeFileSync(join(made, 'tokenizer.json'), bytes());
  writeFileSync(join(made, 'tokenizer_config.json'), JSON.stringify(config));
  return made;
}

const tokenizer: Walk = async (trial, dice) => {
  const loaded = await trial.attempt('tokenizer', async () =>
    loadTokenizer(await tokenizerDirectory(trial), { bosId: 1, eosIds: [2] }),
  );
  if (loaded === null) return;
  for (const text of texts) {
    await trial.attempt('encode and decode', async () => {
      const ids = loaded.encodePrompt(text);
      loaded.decode(ids);
      const decoder = new StreamDecoder(loaded, { skipSpecial: true });
      for (const id of ids) decoder.push(id);
      decoder.flush();
    });
  }
  await trial.attempt('decode anything', async () => {
    const ids = Array.from({ length: 50 }, () => dice.between(0, loaded.vocabularySize + 3));
    const decoder = new StreamDecoder(loaded);
    for (const id of ids) decoder.push(id);
    decoder.flush();
  });
};

/** A chat template: rendered over conversations of several forms. */
const template: Walk = async (trial) => {
  for (const name of readdirSync(at(trial, 'subject')).sort()) {
    const roles = new Map([['bos_token', '<s>']]);
    const templates = await trial.attempt('template', () =>
      templatesInFile(at(trial, 'subject', name), roles),
    );
    if (templates === null) continue;
    for (const { messages, tools } of conversations) {
      await trial.attempt('render', async () => {
        templates.choose(tools !== undefined).render(messages, { tools });
      });
    }
  }
};

const training = (trial: Trial) => [
  at(trial, 'fixed', 'model'),
  ...['--max-tokens', String(trainedTokens), '--epochs', '1', ...lone],
];

/** Published predictors that come with the model. */
const imported: Walk = async (trial) => {
  const data = ['--data', at(trial, 'fixed', 'text.txt')];
  const { done } = await trial.run(
    'predict-train',
    ...training(trial),
    ...data,
    '--import',
    at(trial, 'subject'),
  );
  if (done) await mustRunTrained(trial);
};

/** The files that an interrupted training left. */
const leftover: Walk = async (trial) => {
  const data = ['--data', at(trial, 'fixed', 'text.txt')];
  const { done } = await trial.run('predict-train', ...training(trial), ...data);
  if (done) await mustRunTrained(trial);
};

async function mustRunTrained(trial: Trial): Promise<void> {
  const dir = at(trial, 'fixed', 'model');
  const verified = await trial.run('inspect', dir, '--verify');
  const generated = await trial.run('generate', dir, ...short, ...lone);
  if (!verified.done || !generated.done) {
    trial.broken('a trained model does not run', verified.refusal || generated.refusal);
  }
}

const text: Walk = async (trial, dice) => {
  const file = at(trial, 'subject', 'text.txt');
  const dir = at(trial, 'fixed', 'model');
  const use = dice.next();
  if (use < 0.4) {
    await trial.run('eval', dir, '--data', file, '--context', String(dice.between(2, 64)), ...lone);
  } else if (use < 0.7) {
    await trial.run('generate', dir, '--prompt-file', file, '--max-tokens', '2', ...lone);
  } else {
    await trial.run('predict-train', ...training(trial), '--data', file);
  }
};

/** A device profile with arbitrary content. */
const profile: Walk = async (trial) => {
  const before = process.env.FLASHLLM_CACHE;
  process.env.FLASHLLM_CACHE = at(trial, 'subject');
  try {
    const dir = at(trial, 'fixed', 'model');
    const planned = await trial.run('plan', dir, ...lone);
    const generated = await trial.run('generate', dir, ...short, ...lone);
    if (!planned.done || !generated.done) {
      trial.broken(
        'a device profile keeps a model from running',
        planned.refusal || generated.refusal,
      );
    }
  } finally {
    if (before === undefined) delete process.env.FLASHLLM_CACHE;
    else process.env.FLASHLLM_CACHE = before;
  }
};

interface RouteRow {
  /** How many of a hundred cases take this route. */
  readonly share: number;
  /** The subject's place in the case's directory. */
  readonly place: string;
  readonly walk: Walk;
}

export const routeTable: Readonly<Record<Route, RouteRow>> = {
  checkpoint: { share: 30, place: 'subject', walk: checkpoint },
  gguf: { share: 15, place: 'subject', walk: gguf },
  model: { share: 20, place: 'subject', walk: model },
  reader: { share: 10, place: 'subject', walk: reader },
  tokenizer: { share: 10, place: 'subject', walk: tokenizer },
  template: { share: 4, place: 'subject', walk: template },
  import: { share: 3, place: 'subject', walk: imported },
  leftover: { share: 3, place: 'fixed/model/predict-train.partial', walk: leftover },
  text: { share: 3, place: 'subject', walk: text },
  profile: { share: 2, place: 'subject', walk: profile },
};
