/**
 * Byte-level BPE from the lists of a GGUF file: tables at once, without the objects of a tokenizer.json
 * between, and tokenizer.json as a text. For the 151,936 tokens of Qwen2.5 that is 0.2 s and not 1.3.
 */

import { InputError } from '../errors.ts';
import { mergeProblem } from './from-bpe-files.ts';
import type { BpeTables } from './pipeline/bpe.ts';
import { mergeTableOf, versionLine } from './pipeline/merges.ts';
import { Vocabulary } from './pipeline/vocabulary.ts';
import type { TokenizerJson } from './tokenizer-json.ts';

/**
 * The tables of a model with these tokens, by id, and merges, the best first.
 * @param counts whether an id is that of a token; of tokens that occur twice, the first counts
 * @throws InputError when a merge is not two tokens that, joined, are a third
 */
export function bpeTablesOf(
  tokens: readonly string[],
  counts: (id: number) => boolean,
  merges: readonly string[],
  file: string,
): BpeTables {
  const vocabulary = new Vocabulary(eachToken(tokens, counts));
  const has = (token: string) => vocabulary.idOf(token) !== undefined;
  const lines = merges.some((line) => line === '') ? merges.filter((line) => line !== '') : merges;
  const table = mergeTableOf(lines, vocabulary, {}, (index, merge) => {
    const problem = mergeProblem(String(merge), has) ?? 'is not a merge';
    return new InputError(
      `line ${index + 1} ${problem}`,
      { file },
      "The file's tokenizer is damaged",
    );
  });
  return { vocabulary, merges: table };
}

function* eachToken(
  tokens: readonly string[],
  counts: (id: number) => boolean,
): Generator<readonly [token: string, id: number]> {
  const seen = new Set<string>();
  for (const [id, token] of tokens.entries()) {
    if (!counts(id) || seen.has(token)) continue;
    seen.add(token);
    yield [token, id];
  }
}

/**
 * The text of a tokenizer.json whose vocabulary and merges are apart.
 * @param merges as the file has them
 */
export function tokenizerText(
  { model, ...json }: TokenizerJson,
  { vocabulary }: BpeTables,
  merges: readonly string[],
): string {
  const entries: string[] = [];
  for (let id = 0; id < vocabulary.size; id++) {
    const token = vocabulary.tokenOf(id);
    if (token !== undefined) entries.push(`${JSON.stringify(token)}:${id}`);
  }
  const lines = merges.filter((line) => line !== '' && !line.startsWith(versionLine));
  // Both last braces, of the model and of the whole, come after the large parts.
  const head = JSON.stringify({ ...json, model }).slice(0, -2);
  return `${head},"vocab":{${entries.join(',')}},"merges":${JSON.stringify(lines)}}}`;
}
