import { Command } from 'commander';
import { describeFormats } from '../convert/dtypes.ts';
import { isCheckpoint } from '../convert/is-checkpoint.ts';
import { InputError } from '../errors.ts';
import { type Manifest, rowsOf, weightsByFormat } from '../flash/manifest.ts';
import { ModelFiles } from '../flash/model-files.ts';
import { type PredictorSet, predictorTensors } from '../flash/predictor-file.ts';
import { verifyModel } from '../flash/verify.ts';
import { isRouter } from '../models/spec.ts';
import { type EndToken, endTokensOf } from '../tokenizer/end-tokens.ts';
import { loadTokenizer } from '../tokenizer/tokenizer.ts';
import { formatBytes, formatMs } from '../units.ts';
import {
  type AdaptationFlags,
  adaptationOf,
  checkAdaptable,
  describeAdaptation,
  hiddenActOption,
  loraOption,
} from './adaptation.ts';
import {
  describeAttention,
  describeBlock,
  describeEnds,
  describeFfn,
  describePositions,
  describeScales,
  describeSparsity,
} from './architecture.ts';
import {
  checkpointJson,
  describeCheckpoint,
  describeOutlook,
  outlookOf,
  profileOf,
  tensorsJson,
} from './checkpoint.ts';
import { interruption } from './interrupt.ts';
import { jsonOption } from './options.ts';
import { table } from './table.ts';
import { note, print, printJson, showProgress } from './terminal.ts';

interface InspectFlags extends AdaptationFlags {
  readonly verify?: boolean;
  readonly json?: boolean;
}

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('show what a model directory holds, or what a checkpoint would become')
    .argument('<model>', 'model directory, Hugging Face directory, or GGUF file')
    .option('--verify', 'read everything and check every checksum')
    .addOption(loraOption())
    .addOption(hiddenActOption())
    .addOption(jsonOption())
    .action(run);
}

async function run(dir: string, flags: InspectFlags): Promise<void> {
  if (await isCheckpoint(dir)) return runCheckpoint(dir, flags);
  checkAdaptable(dir, flags);
  const files = await ModelFiles.open(dir);
  try {
    const verified = flags.verify ? await verify(files, flags.json ?? false) : null;
    const endTokens = endTokensOf(await loadTokenizer(dir, files.manifest.spec));
    if (flags.json) printJson({ ...toJson(files, endTokens), verified });
    else print(describe(files, endTokens));
    if (verified !== null && !flags.json) {
      const speed = formatBytes((verified.bytes * 1000) / verified.ms);
      note(
        `intact: ${verified.blocks} blocks, ${formatBytes(verified.bytes)} ` +
          `in ${formatMs(verified.ms)} (${speed}/s)`,
      );
    }
  } finally {
    files.close();
  }
}

/** Shows what a checkpoint would become, and how it would run with the memory of this machine. */
async function runCheckpoint(path: string, flags: InspectFlags): Promise<void> {
  if (flags.verify) {
    throw new InputError(
      'is a checkpoint; it has no checksums to verify',
      { file: path },
      'Convert it, and verify the model',
    );
  }
  const { inspectCheckpoint } = await import('../convert/inspect-checkpoint.ts');
  const report = await inspectCheckpoint(path, adaptationOf(flags));
  for (const line of describeAdaptation(report)) note(line);
  const outlook = outlookOf(report, await profileOf(path));
  if (flags.json) printJson({ ...checkpointJson(report), tensors: tensorsJson(report), outlook });
  else print(`${describeCheckpoint(report)}${describeOutlook(report, outlook)}`);
}

async function verify(files: ModelFiles, quiet: boolean) {
  const progress = showProgress('verifying', quiet);
  try {
    return await verifyModel(files, (done, total) => progress.update(done, total), interruption);
  } finally {
    progress.stop();
  }
}

function toJson({ manifest, dir, predictors }: ModelFiles, endTokens: readonly EndToken[]) {
  return {
    model: dir,
    producer: manifest.producer,
    architecture: manifest.spec,
    endTokens,
    dtypes: manifest.dtypes,
    // The order itself, a number per neuron, is too long to print; that there is one is reported.
    layers: manifest.layers.map(({ order, ...layer }) => ({
      ...layer,
      ...(order && { arranged: true }),
    })),
    ffns: manifest.ffns,
    files: manifest.files,
    tensors: [...manifest.tensors.values()].map(({ checksums, ...tensor }) => ({
      ...tensor,
      blocks: checksums.length,
    })),
    predictors: predictors && {
      producer: predictors.producer,
      dtype: predictors.dtype,
      bytes: predictorBytes(predictors),
      layers: predictors.layers.map(
        (layer) =>
          layer && {
            rank: layer.rank,
            relu: layer.relu,
            input: layer.input,
            ...layer.report,
          },
      ),
    },
  };
}

function predictorBytes(predictors: PredictorSet): number {
  return predictorTensors(predictors).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** One line about the predictors. */
function describePredictors(predictors: PredictorSet | null): string {
  if (predictors === null) return 'none';
  const layers = predictors.layers.flatMap((layer) => layer ?? []);
  const ranks = layers.map(({ rank }) => rank);
  const [low, high] = [Math.min(...ranks), Math.max(...ranks)];
  const mean = (value: (layer: (typeof layers)[number]) => number) =>
    (100 * layers.reduce((sum, layer) => sum + value(layer), 0)) / layers.length;
  if (layers.length === 0) return `made by ${predictors.producer}; no layer uses one`;
  return (
    `${formatBytes(predictorBytes(predictors))}, ${predictors.dtype}, ` +
    `rank ${low === high ? low : `${low} to ${high}`}: ` +
    `${mean(({ report }) => report.predicted).toFixed(1)}% of neurons predicted, ` +
    `${mean(({ report }) => 1 - report.sparsity).toFixed(1)}% fire`
  );
}

/** The formats of matrices and FFNs; if there are several, their shares of the weights. */
function describeStored(manifest: Manifest): string {
  const { resident, bundles } = manifest.dtypes;
  return resident === 'mixed' || bundles === 'mixed'
    ? describeFormats(weightsByFormat(manifest))
    : `${resident}, bundles ${bundles}`;
}

function describe(
  { manifest, dir, predictors }: ModelFiles,
  endTokens: readonly EndToken[],
): string {
  const { spec } = manifest;
  const scales = describeScales(spec);
  const size = (names: (name: string) => boolean) =>
    [...manifest.tensors.values()]
      .filter(({ name }) => names(name))
      .reduce((sum, { bytes }) => sum + bytes, 0);
  const isUnits = (name: string) => /\.ffn\.(bundles|tiles|shared)$/.test(name);
  const experts = size((name) => /\.ffn\.experts$/.test(name));
  const units = size(isUnits);
  const parts = [
    ...(experts === 0 ? [] : ([['experts', experts]] as const)),
    ...(experts === 0
      ? ([[manifest.layers.length > 0 ? 'FFN bundles' : 'FFN tiles', units]] as const)
      : ([['routers and FFNs for all tokens', units + size(isRouter)]] as const)),
    ['attention', size((name) => /\.attention\.(qkv|query|key|value|out)\.weight$/.test(name))],
    ['embeddings and head', size((name) => /^(embed\.(?!norm)|head$)/.test(name))],
    ['norms and biases', size((name) => /norm\.(weight|bias)$|\.(bias|sinks)$/.test(name))],
  ] as const;
  const total = size(() => true);
  const summary = table(
    ['', ''],
    [
      ['model', dir],
      ['made by', manifest.producer],
      ['architecture', `${spec.family}, ${spec.layers} layers, context ${spec.maxPositions}`],
      ['hidden size', `${spec.hiddenSize}`],
      ['block', describeBlock(spec)],
      ['attention', describeAttention(spec)],
      ['positions', describePositions(spec)],
      ...(scales === null ? [] : [['scales', scales]]),
      ['FFN', `${describeFfn(spec)}; ${describeSparsity(spec)}`],
      ['vocabulary', `${spec.vocabSize}, head ${spec.tiedHead ? 'tied' : 'not tied'}`],
      ['end tokens', describeEnds(endTokens)],
      ['dtypes', describeStored(manifest)],
      ['predictors', describePredictors(predictors)],
    ],
  );
  const sizes = table(
    ['part', 'bytes', 'share'],
    [...parts, ['total', total] as const].map(([name, bytes]) => [
      name,
      formatBytes(bytes),
      `${((100 * bytes) / total).toFixed(1)}%`,
    ]),
  );
  const tensors = table(
    ['tensor', 'dtype', 'shape', 'bytes', 'offset', 'blocks'],
    [...manifest.tensors.values()].map((tensor) => [
      tensor.name,
      tensor.dtype,
      tensor.shape.join(' x '),
      `${rowsOf(tensor).rows * rowsOf(tensor).rowBytes}`,
      `${tensor.offset}`,
      `${tensor.checksums.length}`,
    ]),
  );
  return `${summary.replace(/^\n/, '')}\n${sizes}\n${tensors}`;
}
