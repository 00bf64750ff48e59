/** Selects the files of a repository that a model needs. */

import { join } from 'node:path';
import { weightFileNames } from '../checkpoint/hf-directory.ts';
import { quantisationFileNames } from '../checkpoint/quantisation.ts';
import { largestSideFile } from '../convert/side-files.ts';
import { InputError } from '../errors.ts';
import { sideFileNames, storedTemplateName, templateDirectory } from '../flash/manifest.ts';
import { sentencePieceFile } from '../tokenizer/sentencepiece/model-file.ts';
import { formatBytes } from '../units.ts';
import type { ModelName } from './address.ts';
import { localName } from './file-names.ts';
import { type GgufModel, ggufModels } from './gguf-models.ts';
import { journalFile, partSuffix } from './journal.ts';
import type { HubFile, Repository } from './repository.ts';

/** A file to be downloaded. */
export interface WantedFile extends HubFile {
  /** Its name in the directory. */
  readonly name: string;
}

export interface Selection {
  readonly format: 'Hugging Face' | 'GGUF';
  /** The default name of the directory. */
  readonly directoryName: string;
  /** Configuration, tokenizer and index: small files that are enough to select the weights. */
  readonly small: readonly WantedFile[];
  /** The weights, as far as they are known without reading an index. */
  readonly weights: readonly WantedFile[];
  /** The name of the index that lists the shards. */
  readonly index: string | null;
}

/** All files of a selection, the small ones first. */
export function filesOf({ small, weights }: Selection): readonly WantedFile[] {
  return [...small, ...weights];
}

/** The path to open in `dir`: the directory itself, or the first GGUF file in it. */
export function checkpointIn(dir: string, { format, weights }: Selection): string {
  const [first] = weights;
  return format === 'GGUF' && first !== undefined ? join(dir, first.name) : dir;
}

/** The most entries of a repository that a message lists. */
const mostListed = 12;

/**
 * The files that `name` selects.
 * @throws InputError that lists the available models, if `name` matches none or several of them
 */
export function selectFiles(repository: Repository, { choice, name }: ModelName): Selection {
  const models = ggufModels(repository.files);
  const place = { file: repository.id };
  if (choice !== null) {
    const called = models.filter((model) => model.isCalled(choice));
    const found = called.length > 1 ? called.filter(({ isText }) => isText) : called;
    const [only] = found;
    if (only !== undefined && found.length === 1) return ofGguf(only, name);
    throw new InputError(
      found.length > 1
        ? `'${choice}' may be any of ${listed(found)}`
        : models.length > 0
          ? `has no '${choice}'; it has ${listed(models)}`
          : `has no GGUF files, so '${choice}' cannot be selected`,
      place,
      models.length > 0 ? `Ask for one, as ${example(repository, models)}` : 'Leave out the colon',
    );
  }
  const byPath = new Map(repository.files.map((file) => [file.path, file]));
  const weights = weightFileNames.map((known) => byPath.get(known)).find((file) => file);
  if (byPath.has('config.json') && weights !== undefined) {
    const names = [...sideFileNames, ...tokenizerNames(byPath), ...quantisationFileNames];
    const small = names.flatMap((known) => byPath.get(known) ?? []);
    small.push(...repository.files.filter(({ path }) => namedTemplateOf(path) !== null));
    const isIndex = weights.path.endsWith('.json');
    if (isIndex) small.push(weights);
    const long = small.find(({ bytes }) => bytes > largestSideFile);
    if (long !== undefined) {
      const what = `has ${long.bytes} bytes; such a file may have at most ${largestSideFile}`;
      throw new InputError(what, { file: `${repository.id}/${long.path}` });
    }
    return {
      format: 'Hugging Face',
      directoryName: name,
      small: wanted(small),
      weights: wanted(isIndex ? [] : [weights]),
      index: isIndex ? weights.path : null,
    };
  }
  const plain = models.filter((model) => model.isText);
  const [only] = plain;
  if (only !== undefined && plain.length === 1) return ofGguf(only, name);
  if (plain.length > 1) {
    throw new InputError(
      `has several GGUF models: ${listed(plain)}`,
      place,
      `Ask for one, as ${example(repository, plain)}`,
    );
  }
  const names = repository.files.map(({ path }) => path);
  const seen = names.length === 0 ? 'nothing' : names.slice(0, mostListed).join(', ');
  const lacks = byPath.has('config.json') ? `no ${weightFileNames.join(', ')}` : 'no config.json';
  throw new InputError(
    `has ${lacks} and no GGUF file; it has ${seen}`,
    place,
    byPath.has('adapter_config.json')
      ? 'It is an adapter: pull the checkpoint that it was made for'
      : 'Choose a repository of a language model',
  );
}

/** `selection` with the shards that its index names; those that the repository lacks are left out. */
export function withShards(
  selection: Selection,
  repository: Repository,
  shards: readonly string[],
): Selection {
  const byPath = new Map(repository.files.map((file) => [file.path, file]));
  const known = new Set(selection.small.map(({ path }) => path));
  const files = shards
    .filter((shard) => !known.has(shard))
    .flatMap((name) => byPath.get(name) ?? []);
  const taken = new Set(selection.small.map(({ name }) => name.toLowerCase()));
  return { ...selection, weights: wanted(files, taken), index: null };
}

function ofGguf({ files, stem }: GgufModel, name: string): Selection {
  const weights = wanted(files);
  return {
    format: 'GGUF',
    directoryName: stem === '' ? name : stem,
    small: [],
    weights,
    index: null,
  };
}

/** A SentencePiece model is needed if there is neither a tokenizer.json nor vocab.json with merges.txt. */
function tokenizerNames(byPath: ReadonlyMap<string, HubFile>): readonly string[] {
  const has = (name: string) => byPath.has(name);
  return has('tokenizer.json') || (has('vocab.json') && has('merges.txt'))
    ? []
    : [sentencePieceFile];
}

/** The local name of a named chat template; null for the path of another file. */
function namedTemplateOf(path: string): string | null {
  const folder = `${templateDirectory}/`;
  return path.startsWith(folder) ? storedTemplateName(path.slice(folder.length)) : null;
}

function wanted(files: readonly HubFile[], others: ReadonlySet<string> = new Set()): WantedFile[] {
  const taken = new Set([...others, journalFile]);
  return files.map((file) => {
    const name = localName(namedTemplateOf(file.path) ?? file.path, taken);
    for (const form of [name, `${name}${partSuffix}`]) taken.add(form.toLowerCase());
    return { ...file, name };
  });
}

function listed(models: readonly GgufModel[]): string {
  const first = models
    .slice(0, mostListed)
    .map(({ label, bytes }) => `${label} (${formatBytes(bytes)})`);
  const more = models.length - first.length;
  return `${first.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function example({ id }: Repository, [first]: readonly GgufModel[]): string {
  return `${id}:${first?.label ?? ''}`;
}
