/** The positions of a model, as `flash.json` stores them. */

import * as v from 'valibot';
import { factor, index, positive } from './spec-values.ts';

/** The name of the scaling `llama3` in `flash.json`, kept from the first models that were written. */
const storedLlama3 = 'wavelength';

/** Low frequencies are divided by `factor`, high ones kept, those in between interpolated. */
const llama3ScalingSchema = v.pipe(
  v.object({
    kind: v.literal(storedLlama3),
    factor,
    trained: positive,
    lowFactor: factor,
    highFactor: factor,
  }),
  v.transform((scaling) => ({ ...scaling, kind: 'llama3' as const })),
);

/** The scaling of a rotary embedding's frequencies for longer sequences than it was trained on. */
const rotaryScalingSchema = v.variant('kind', [
  v.object({ kind: v.literal('none') }),
  /** All frequencies are divided by `factor`. */
  v.object({ kind: v.literal('linear'), factor }),
  /** The base grows with the position beyond `trained` positions. */
  v.object({ kind: v.literal('dynamic'), factor, trained: positive }),
  llama3ScalingSchema,
  /** The same, but by the number of rotations within `trained` positions; q . k is also scaled. */
  v.object({
    kind: v.literal('yarn'),
    factor,
    trained: positive,
    betaFast: factor,
    betaSlow: factor,
    /** Whether the range between them is rounded to whole pairs. */
    truncate: v.boolean(),
    /** On cosine and sine. */
    attentionFactor: factor,
  }),
  /**
   * The frequency of each pair is divided by its own factor: one list for sequences of up to `trained`
   * positions, another for longer ones.
   */
  v.object({
    kind: v.literal('longrope'),
    short: v.array(factor),
    long: v.array(factor),
    trained: positive,
    /** On cosine and sine. */
    attentionFactor: factor,
  }),
]);
export type RotaryScaling = v.InferOutput<typeof rotaryScalingSchema>;

/** The first `dims` values of each query and key head are rotated in pairs. */
export const rotarySchema = v.object({
  kind: v.literal('rotary'),
  theta: factor,
  dims: positive,
  /** Pairs (i, i + dims / 2), or (2i, 2i + 1). */
  pairs: v.picklist(['halves', 'interleaved']),
  scaling: rotaryScalingSchema,
});

export const positionsSchema = v.variant('kind', [
  /** Row `position + offset` of a table is added to the embedding. */
  v.object({ kind: v.literal('learned'), offset: index }),
  rotarySchema,
  /** The score of a key grows with its position, by a slope for each head. */
  v.object({
    kind: v.literal('alibi'),
    /**
     * `rounded`, the default: slopes and their products with positions are rounded to bf16 and added before
     * the scores are scaled. `plain`: added to scaled scores, nothing rounded.
     */
    form: v.optional(v.picklist(['rounded', 'plain'])),
    /** The steepest slope is 2 to the power of minus this over the number of heads; 8 by default. */
    steepest: v.optional(factor),
    /**
     * The slopes if the number of heads is not a power of two. By default: the sequence of the power below,
     * then every other slope of the power above. `above`: all of the power above, every other slope first.
     */
    slopes: v.optional(v.picklist(['above'])),
  }),
  v.object({ kind: v.literal('none') }),
]);
export type Positions = v.InferOutput<typeof positionsSchema>;
export type RotaryPositions = v.InferOutput<typeof rotarySchema>;

/** A rotary embedding as stored in `flash.json` and read by {@link rotarySchema}. */
export function storedRotary(positions: RotaryPositions): v.InferInput<typeof rotarySchema> {
  const { scaling } = positions;
  if (scaling.kind !== 'llama3') return { ...positions, scaling };
  return { ...positions, scaling: { ...scaling, kind: storedLlama3 } };
}
