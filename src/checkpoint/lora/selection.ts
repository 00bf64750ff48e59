/** Determines by PEFT's rules which modules an adapter's configuration selects. */

import { InputError } from '../../errors.ts';
import { some } from '../../plain-text.ts';
import { printable } from '../json-file.ts';
import type { Adapter } from './adapter.ts';
import type { AdapterConfig, Modules, Pattern } from './adapter-config.ts';
import { endsWithOneOf, headModule, innerName } from './names.ts';
import { matchPatterns } from './python-pattern.ts';

/** Modules of the model that may have low-rank updates. */
export interface Candidate {
  readonly name: string;
  /** Whether `all-linear` selects it: it is neither an embedding nor the head. */
  readonly inner: boolean;
}

/**
 * Checks the updates that an adapter has against those that its configuration selects.
 * @param modules those of the checkpoint
 * @returns names in target_modules that the checkpoint does not have
 * @throws InputError when some are missing or not selected
 */
export function checkSelection(adapter: Adapter, modules: readonly Candidate[]): readonly string[] {
  const { config, lowRank } = adapter;
  const { file, targets } = config;
  if (targets === null) return [];
  const candidates = calledAs(adapter, modules);
  const selected = selectedModules(config, candidates);
  const updated = new Set(lowRank.map(({ module }) => module));
  const missing: string[] = [];
  const unselected: string[] = [];
  for (const [index, { name }] of candidates.entries()) {
    if (selected[index] && !updated.has(name)) missing.push(name);
    // A head that stays tied has its embedding's updates.
    if (!selected[index] && updated.has(name) && !config.staysTied) unselected.push(name);
  }
  if (unselected.length > 0) {
    throw new InputError(
      `the adapter has updates for modules that its configuration does not select: ${some(unselected)}`,
      { file },
      "'target_modules', 'exclude_modules', 'layers_to_transform' and the weights contradict each other",
    );
  }
  if (missing.length > 0) {
    throw new InputError(
      `'target_modules' selects modules for which the adapter has no update: ${some(missing)}`,
      { file },
      otherBase(adapter),
    );
  }
  if (!selected.includes(true)) {
    throw new InputError(
      `'target_modules' selects no module of the checkpoint: ${describeModules(targets)}`,
      { file },
      otherBase(adapter),
    );
  }
  if (targets === 'all-linear' || targets.kind === 'pattern') return [];
  return targets.names
    .filter((name) => !candidates.some((candidate) => endsWithOneOf(candidate.name, [name])))
    .map(printable);
}

/** The hint for an adapter that does not fit. */
export function otherBase({ config }: Pick<Adapter, 'config'>): string {
  return config.base === null
    ? 'Give the checkpoint that the adapter was trained on; it does not say which'
    : `Give the checkpoint that the adapter was trained on: ${config.base}`;
}

/** The checkpoint's modules, and any others with updates, under the names that the adapter uses. */
function calledAs({ lowRank }: Adapter, modules: readonly Candidate[]): readonly Candidate[] {
  const has = new Map(lowRank.map(({ module }) => [innerName(module), module]));
  const [wrapped] = [...has].filter(([inner, module]) => inner !== module);
  // A module that the adapter lacks gets a name in the style of the adapter's other modules.
  const prefix = wrapped === undefined ? null : wrapped[1].slice(0, -wrapped[0].length);
  const called = modules.map(({ name, inner: isInner }) => {
    const inner = innerName(name);
    const usual = prefix === null || inner === headModule ? name : prefix + inner;
    return { name: has.get(inner) ?? usual, inner: isInner };
  });
  const known = new Set(called.map(({ name }) => name));
  const others = lowRank.filter(({ module }) => !known.has(module));
  return [...called, ...others.map(({ module }) => ({ name: module, inner: false }))];
}

function describeModules(modules: Modules | 'all-linear'): string {
  if (modules === 'all-linear') return modules;
  return printable(modules.kind === 'pattern' ? modules.pattern : some(modules.names));
}

/** For each of `candidates` whether the adapter updates it. */
export function selectedModules(
  config: AdapterConfig,
  candidates: readonly Candidate[],
): readonly boolean[] {
  const names = candidates.map(({ name }) => name);
  const { file, targets } = config;
  const excluded = matches(config, 'exclude_modules', config.excluded, names);
  const saved = matchPatterns('part', config.saved, names, { file, field: 'modules_to_save' });
  const targeted =
    targets === 'all-linear'
      ? candidates.map(({ inner }) => inner)
      : matches(config, 'target_modules', targets, names);
  const inLayers = layerChoice(config, names);
  return candidates.map(
    (_, index) =>
      targeted[index] === true && inLayers[index] === true && !excluded[index] && !saved[index],
  );
}

function matches(
  { file }: AdapterConfig,
  field: string,
  modules: Modules | null,
  names: readonly string[],
): readonly boolean[] {
  if (modules === null) return names.map(() => false);
  if (modules.kind === 'names') return names.map((name) => endsWithOneOf(name, modules.names));
  const found = matchPatterns('whole', [modules.pattern], names, { file, field });
  return found.map((match) => match !== null);
}

/** The first number in a name, with any name before it and one after it. */
const layerNumber = /^.*?\.[^.]*\.(\d+)\./;

/** Whether layers_to_transform allows a module; it does not restrict modules that are named in full. */
function layerChoice(config: AdapterConfig, names: readonly string[]): readonly boolean[] {
  const { file, layers, layerPatterns, targets } = config;
  if (layers === null || targets === null || targets === 'all-linear') return names.map(() => true);
  const numbers =
    layerPatterns.length === 0
      ? names.map((name) => Number(layerNumber.exec(name)?.[1] ?? Number.NaN))
      : matchPatterns('numbered', layerPatterns, names, { file, field: 'layers_pattern' }).map(
          (match) => match?.number ?? Number.NaN,
        );
  const inFull = targets.kind === 'names' ? targets.names : [];
  return names.map(
    (name, index) => inFull.includes(name) || layers.includes(numbers[index] ?? Number.NaN),
  );
}

/** Rank and scale of the update of each module. */
export function scalesOf(
  config: AdapterConfig,
  modules: readonly string[],
): readonly { readonly rank: number; readonly scale: number }[] {
  const ranks = valuesOf(config, 'rank_pattern', config.rankPattern, config.rank, modules);
  const alphas = valuesOf(config, 'alpha_pattern', config.alphaPattern, config.alpha, modules);
  return modules.map((_, index) => {
    const rank = ranks[index] ?? config.rank;
    const alpha = alphas[index] ?? config.alpha;
    return { rank, scale: alpha / (config.rslora ? Math.sqrt(rank) : rank) };
  });
}

function valuesOf(
  { file }: AdapterConfig,
  field: string,
  pattern: Pattern,
  usual: number,
  modules: readonly string[],
): readonly number[] {
  const keys = pattern.map(([key]) => key);
  return matchPatterns('ending', keys, modules, { file, field }).map((match) =>
    match === null ? usual : (pattern[match.pattern]?.[1] ?? usual),
  );
}
