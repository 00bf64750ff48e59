/** The models in the GGUF files of a repository: each is one file, or the parts of one. */

import { ggufPart } from '../checkpoint/gguf/gguf-file.ts';
import type { HubFile } from './repository.ts';

export interface GgufModel {
  /** The files, in the order of the parts. */
  readonly files: readonly HubFile[];
  /** The file's name without its extension and without a part number. */
  readonly stem: string;
  readonly bytes: number;
  /** The label that selects it: its quantisation, or its first file if several models share that. */
  readonly label: string;
  /** Whether its name is that of a language model, not of a projector or an importance matrix. */
  readonly isText: boolean;
  /** Whether `asked` is one of its files, or its quantisation. */
  isCalled(asked: string): boolean;
}

/** A quantisation at the end of a file's name. */
const quantisation =
  /(?:^|[-_.])((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|BF16|FP?16|F32))$/i;
const ending = /\.gguf$/i;
const otherThanText = /mmproj|imatrix/i;

/** The models in `files`, in their order. */
export function ggufModels(files: readonly HubFile[]): readonly GgufModel[] {
  const groups = new Map<string, HubFile[]>();
  for (const file of files) {
    if (!ending.test(file.path)) continue;
    const part = ggufPart(file.path);
    const key = part === null ? file.path : `${part.prefix}/${part.count}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [file]);
    else group.push(file);
  }
  const found = [...groups.values()].map((group) => {
    const [first] = group;
    const path = first?.path ?? '';
    const whole = ggufPart(path)?.prefix ?? path.replace(ending, '');
    const stem = whole.slice(whole.lastIndexOf('/') + 1);
    return { group, path, stem, type: quantisation.exec(stem)?.[1] ?? null };
  });
  return found.map(({ group, path, stem, type }) => {
    const isText = !otherThanText.test(stem);
    const alike = found.filter(
      (other) =>
        other.type?.toLowerCase() === type?.toLowerCase() &&
        otherThanText.test(other.stem) !== isText,
    );
    return {
      files: group,
      stem,
      bytes: group.reduce((sum, { bytes }) => sum + bytes, 0),
      label: type === null || alike.length > 1 ? path : type,
      isText,
      isCalled: (asked) =>
        type?.toLowerCase() === asked.toLowerCase() ||
        group.some((file) => file.path === asked || file.path.endsWith(`/${asked}`)),
    };
  });
}
