/** Code that translations share: fields of most configs, names of blocks, orders of rows. */

import { InputError } from '../../errors.ts';
import { own } from '../../own.ts';
import { limits } from '../config.ts';
import type { RowOrder } from '../row-order.ts';
import { refuseExperts } from './experts.ts';
import { GgufKeys } from './keys.ts';
import { ropeConfig } from './rope.ts';
import type { GgufFacts, Translated } from './translation.ts';

export interface Geometry {
  readonly keys: GgufKeys;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of a value head, which may differ. */
  readonly valueDim: number;
  /** Values of a head that are rotated. */
  readonly rotaryDim: number;
  /** Fields that every config has under the same name. */
  readonly config: Readonly<Record<string, unknown>>;
}

const embedding = 'token_embd.weight';

/** Optional forms that an architecture may have. */
interface Forms {
  /** Whether it may be a mixture of experts. */
  readonly experts?: boolean;
  /**
   * Whether keys and values are computed from a latent vector: value heads may then have a different width.
   */
  readonly latent?: boolean;
}

/** Reads the fields that are the same in every architecture. */
export function geometryOf(
  facts: GgufFacts,
  architecture: string,
  { experts = false, latent = false }: Forms = {},
): Geometry {
  const keys = new GgufKeys(facts, architecture);
  const { file, shapes } = facts;
  if (!experts) refuseExperts({ keys }, facts);
  const hidden = keys.integer('embedding_length', undefined, limits.hiddenSize);
  const heads = keys.integer('attention.head_count', undefined, limits.heads);
  const kvHeads = keys.integer('attention.head_count_kv', heads, limits.heads);
  if (heads % kvHeads !== 0) {
    throw new InputError(
      `the number of query heads, ${heads}, is not a multiple of the number of KV heads, ${kvHeads}`,
      {
        file,
      },
    );
  }
  const { headDim, valueDim } = latent ? latentWidths(keys) : headWidths(keys, hidden / heads);
  if (valueDim !== headDim && !latent) {
    throw new InputError(
      `a head has ${headDim} dimensions in keys and ${valueDim} in values: different sizes are not supported`,
      {
        file,
      },
    );
  }
  const rotaryDim = keys.integer('rope.dimension_count', headDim, limits.headDim);
  const vocabulary = shapes.get(embedding)?.[0];
  if (vocabulary === undefined) {
    throw new InputError(
      `the file has no tensor ${embedding}`,
      { file },
      'It holds only a vocabulary, an adapter or a projector; give the model itself',
    );
  }
  // A layer has several tensors.
  const layers = keys.integer('block_count', undefined, Math.min(limits.layers, shapes.size));
  return {
    keys,
    hidden,
    layers,
    heads,
    kvHeads,
    headDim,
    valueDim,
    rotaryDim,
    config: {
      vocab_size: vocabulary,
      hidden_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      max_position_embeddings: keys.integer('context_length'),
      tie_word_embeddings: !keys.has('output.weight'),
      bos_token_id: keys.tokenId('bos'),
      eos_token_id: keys.tokenId('eos'),
      ...ropeConfig(keys, facts, rotaryDim),
    },
  };
}

function headWidths(keys: GgufKeys, share: number) {
  const headDim = keys.integer('attention.key_length', share, limits.headDim);
  return { headDim, valueDim: keys.integer('attention.value_length', headDim, limits.headDim) };
}

/**
 * Newer files store these widths under other keys, and use these keys for the width of the latent vector.
 */
function latentWidths(keys: GgufKeys) {
  const width = (of: string) => {
    const given = keys.optionalNumber(`attention.${of}_length_mla`);
    const key = given === undefined ? `attention.${of}_length` : `attention.${of}_length_mla`;
    return keys.integer(key, undefined, limits.headDim);
  };
  return { headDim: width('key'), valueDim: width('value') };
}

/** Refuses a model that rotates only a part of each head although its family rotates all of it. */
export function checkFullRotary({ rotaryDim, headDim }: Geometry, { file }: GgufFacts): void {
  if (rotaryDim === headDim) return;
  throw new InputError(
    `applies rotary embedding to ${rotaryDim} of the ${headDim} dimensions of a head: not supported for this architecture`,
    { file },
  );
}

/** Splits `blk.7.attn_q.weight` into layer 7, `attn_q` and `weight`. */
export function blockTensor(
  name: string,
): { readonly layer: string; readonly part: string; readonly kind: string } | undefined {
  const [, layer, part, kind] = /^blk\.(\d{1,6})\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  if (layer === undefined || part === undefined || kind === undefined) return undefined;
  return { layer, part, kind };
}

/** Splits `output_norm.weight` into `output_norm` and `weight`. */
function plainTensor(name: string): { readonly part: string; readonly kind: string } | undefined {
  const [, part, kind] = /^(\w+)\.(weight|bias)$/.exec(name) ?? [];
  return part === undefined || kind === undefined ? undefined : { part, kind };
}

/** Tables of frequencies: they are computed here, not read. */
const frequencyTables = /^(rope_freqs|rope_factors_(long|short)|blk\.\d+\.attn_rot_embd)\.weight$/;

/**
 * Translates names with two tables, one for tensors outside blocks and one for those inside.
 * @param block prefix of the names of a block's tensors
 */
export function byTables(
  name: string,
  plain: Readonly<Record<string, string>>,
  inBlock: Readonly<Record<string, string>>,
  block: (layer: string) => string,
): readonly Translated[] | undefined {
  if (frequencyTables.test(name)) return [];
  const outside = plainTensor(name);
  if (outside !== undefined) {
    const to = own(plain, outside.part);
    return to === undefined ? undefined : [{ name: `${to}.${outside.kind}` }];
  }
  const inside = blockTensor(name);
  const to = inside && own(inBlock, inside.part);
  return to === undefined || inside === undefined
    ? undefined
    : [{ name: `${block(inside.layer)}.${to}.${inside.kind}` }];
}

/**
 * Adjacent rotary pairs, as in GGUF, become the two halves of each head:
 * row `half` h + i of a head is the file's row 2 i + h.
 */
export function halvesOfPairs(heads: number, headDim: number): RowOrder {
  const half = headDim / 2;
  return {
    count: heads * headDim,
    sourceOf: (row) => {
      const within = row % headDim;
      return row - within + 2 * (within % half) + (within >= half ? 1 : 0);
    },
  };
}

/**
 * The order of rows in which a checkpoint stacks, for each head of keys and values, its queries, its key, its
 * value, where the file stacks all queries, all keys, all values.
 */
export function groupedRows({ heads, kvHeads, headDim }: Geometry): RowOrder {
  const queries = (heads / kvHeads) * headDim; // of one group
  const group = queries + 2 * headDim;
  return {
    count: kvHeads * group,
    sourceOf: (row) => {
      const index = Math.floor(row / group);
      const within = row % group;
      if (within < queries) return index * queries + within;
      const isValue = within >= queries + headDim;
      const first = heads * headDim + (isValue ? kvHeads * headDim : 0);
      return first + index * headDim + ((within - queries) % headDim);
    },
  };
}
