/** A manifest of a tiny model, and manifests with a checksum that fits whatever is in them. */

import { crcHex } from '../../src/flash/checksum.ts';
import { layoutModel, type StorageDTypes } from '../../src/flash/layout.ts';
import { formatManifest, type Manifest, rowsOf } from '../../src/flash/manifest.ts';
import { recipeOf } from '../../src/models/index.ts';

/** The manifest of an OPT of two layers; its checksums are those of nothing. */
export function tinyManifest(
  config: Readonly<Record<string, unknown>> = {},
  storage: StorageDTypes = { resident: 'f16', bundles: 'f16' },
): Manifest {
  const recipe = recipeOf({
    config: {
      model_type: 'opt',
      hidden_size: 16,
      word_embed_proj_dim: 16,
      ffn_dim: 24,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      max_position_embeddings: 30,
      vocab_size: 40,
      ...config,
    },
    configFile: 'config.json',
    sourceNames: new Set(),
  });
  const { resident, bundles, dtypes, ffns, layers } = layoutModel(recipe, storage);
  const fileOf = ({ bytes, header }: typeof resident) => ({
    bytes,
    crc32: '0a0b0c0d',
    headerBytes: header.length,
  });
  return {
    crc32: '',
    producer: 'flashllm test',
    spec: recipe.spec,
    dtypes,
    ffns,
    layers,
    files: {
      [resident.file]: fileOf(resident),
      [bundles.file]: fileOf(bundles),
      'tokenizer.json': { bytes: 3, crc32: '0a0b0c0d' },
    },
    tensors: new Map(
      [...resident.tensors, ...bundles.tensors].map((placed) => {
        const tensor = { ...placed, checksums: new Uint32Array() };
        const blocks = Math.ceil(rowsOf(tensor).rows / tensor.rowsPerBlock);
        return [tensor.name, { ...tensor, checksums: new Uint32Array(blocks).fill(7) }];
      }),
    ),
  };
}

/** `flash.json` as an object. */
export type ManifestDocument = Readonly<Record<string, unknown>>;

export function documentOf(manifest: Manifest): ManifestDocument {
  return JSON.parse(formatManifest(manifest)) as ManifestDocument;
}

/** The document with another value at `path`; undefined removes it. */
export function withValue(
  document: ManifestDocument,
  path: readonly (string | number)[],
  value: unknown,
): ManifestDocument {
  const copy = structuredClone(document);
  let at = copy as Record<string, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
  const last = path.at(-1) ?? '';
  if (value === undefined) delete at[last];
  else at[last] = value;
  return copy;
}

/** The text of `flash.json` with a checksum that fits. */
export function mended({ crc32: _, ...rest }: ManifestDocument): string {
  return mendedText(`${JSON.stringify({ ...rest, crc32: '' }, null, 1)}\n`);
}

/** The same of any text that ends as `flash.json` does. */
export function mendedText(text: string): string {
  const field = /"crc32": "[0-9a-f]*"\n\}\n$/;
  const zeroed = text.replace(field, '"crc32": "00000000"\n}\n');
  return zeroed.replace(field, `"crc32": "${crcHex(zeroed)}"\n}\n`);
}
