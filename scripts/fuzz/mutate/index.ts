/** Chooses the mutators for a file, and the changes to the files of an input. */

import { manifestFile } from '../../../src/flash/manifest.ts';
import { predictorsFile } from '../../../src/flash/predictor-file.ts';
import type { Dice } from '../../../test/support/random.ts';
import { type Files, oddities } from '../files.ts';
import { hostileJson } from '../hostile-values.ts';
import { mutateBytes } from './bytes.ts';
import { mutateGguf } from './gguf.ts';
import { mutateJson } from './json.ts';
import { mendEntry, mendManifest } from './model.ts';
import type { Donors, Mutation, Mutator } from './mutation.ts';
import { mutatePredictors } from './predictors.ts';
import { mutateSafetensors } from './safetensors.ts';
import { mutateTemplate } from './template.ts';
import { mutateText } from './text.ts';
import { mutateTorch } from './torch.ts';

/** The mutator that knows the format of the file `name`. */
function mutatorOf(name: string): Mutator {
  if (name.endsWith(predictorsFile)) return mutatePredictors;
  if (name.endsWith('.json')) return mutateJson;
  if (name.endsWith('.safetensors')) return mutateSafetensors;
  if (name.endsWith('.gguf')) return mutateGguf;
  if (/\.(bin|pt)$/.test(name)) return mutateTorch;
  if (name.endsWith('.jinja')) return mutateTemplate;
  if (name.endsWith('.txt')) return mutateText;
  return mutateBytes;
}

/** Files that a reader looks for, even if an input does not have them. */
const optionalFiles = [
  ...[
    'generation_config.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'added_tokens.json',
  ],
  ...['tokenizer.json', 'vocab.json', 'merges.txt', 'config.json', predictorsFile],
  'chat_template.jinja',
  ...['model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin.index.json'],
] as const;

/** How many files of one input are changed, mostly one. */
const changeCounts = [1, 1, 1, 1, 1, 2, 2, 3];

/**
 * Changes `files` in place.
 * @param donorsOf files of that name in other inputs
 * @returns a description of the changes
 */
export function mutateFiles(
  files: Files,
  dice: Dice,
  donorsOf: (name: string) => Donors,
): readonly string[] {
  const done: string[] = [];
  const changed = new Set<string>();
  for (let left = dice.pick(changeCounts); left > 0 && files.size > 0; left--) {
    const name = chooseFile(files, dice);
    changed.add(name);
    done.push(`${name}: ${changeFile(files, name, dice, donorsOf(baseOf(name)))}`);
  }
  if (files.has(manifestFile) && dice.chance(0.85)) {
    for (const name of changed) if (name !== manifestFile) mendEntry(files, name);
    mendManifest(files);
    done.push('checksums mended');
  }
  return done;
}

/** Small files are as interesting as large ones; files that describe how others are read are more interesting. */
function chooseFile(files: Files, dice: Dice): string {
  const names = [...files.keys()];
  const telling = names.filter((name) =>
    /(^|\/)(config|flash|tokenizer|model.*index)\.json$|gguf$|safetensors$|\.(bin|pt)$/.test(name),
  );
  return dice.pick(telling.length > 0 && dice.chance(0.75) ? telling : names);
}

function changeFile(files: Files, name: string, dice: Dice, donors: Donors): string {
  const content = files.get(name);
  if (!Buffer.isBuffer(content) || dice.chance(0.03)) {
    const target = dice.chance(0.7) ? name : dice.pick(optionalFiles);
    const oddity = dice.pick([...oddities, 'missing' as const]);
    if (oddity === 'missing') files.delete(target);
    else files.set(target, oddity);
    return `${target} is: ${oddity}`;
  }
  if (dice.chance(0.02)) {
    const target = dice.pick(optionalFiles);
    files.set(target, Buffer.from(dice.pick(hostileJson)));
    return `${target} made up`;
  }
  const known = dice.chance(0.8) ? knowing(mutatorOf(name), content, dice, donors) : null;
  const { bytes, what } = known ?? mutateBytes(content, dice);
  files.set(name, bytes);
  return what;
}

/** The file as changed by `mutator`; null if earlier damage makes it unreadable. */
function knowing(mutator: Mutator, content: Buffer, dice: Dice, donors: Donors): Mutation | null {
  try {
    return mutator(content, dice, donors);
  } catch (error) {
    // No longer JSON, shorter than it claims, or nested too deep for us.
    if (error instanceof SyntaxError || error instanceof RangeError) return null;
    throw error;
  }
}

const baseOf = (name: string) => name.slice(name.lastIndexOf('/') + 1);
