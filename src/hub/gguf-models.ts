/** The models in the GGUF files of a repository: each is one file, or the parts of one. */

import { ggufPart } from '../checkpoint/gguf/gguf-file.ts';
import type { HubFile } from './repository.ts';

export interface GgufModel {
  /** In the order of the parts. */
  readonly files: readonly HubFile[];
  /** The file's name without its ending, and without the number of a part. */
  readonly stem: string;
  readonly bytes: number;
  /** What to ask for it by: its quantisation, or where several share that, its first file. */
  readonly label: string;
  /** Whether it is a language model, as far as its name tells: not a projector or a matrix of importance. */
  readonly isText: boolean;
  /** Whether `asked` is one of its files, or its quantisation. */
  isCalled(asked: string): boolean;
}

/** How a quantisation stands at the end of a file's name. */
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
