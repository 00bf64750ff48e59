/** How a model tells positions, as `flash.json` holds it. */

import * as v from 'valibot';
import { factor, index, positive } from './spec-values.ts';

/** What `flash.json` calls the scaling `llama3`: the word of the first models that were written. */
const storedLlama3 = 'wavelength';

/** Low frequencies divided by `factor`, high ones kept, in between a mixture. */
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

/** How the frequencies of a rotary embedding are stretched to longer sequences than it was trained on. */
const rotaryScalingSchema = v.variant('kind', [
  v.object({ kind: v.literal('none') }),
  /** All frequencies divided by `factor`. */
  v.object({ kind: v.literal('linear'), factor }),
  /** The base grows with the position once it is beyond `trained` positions. */
  v.object({ kind: v.literal('dynamic'), factor, trained: positive }),
  llama3ScalingSchema,
  /** The same by the number of turns within `trained` positions; q . k is scaled, too. */
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
   * Each pair's frequency divided by a factor of its own: one list for sequences of up to `trained`
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

/** The first `dims` values of each query and key head are turned by pairs. */
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
     * `rounded`, unless said: slopes and their products with positions are rounded to bf16 and added
     * before the scores are scaled. `plain`: added to scaled scores, nothing rounded.
     */
    form: v.optional(v.picklist(['rounded', 'plain'])),
    /** The steepest slope is 2 to the power of minus this over the number of heads; 8 unless said. */
    steepest: v.optional(factor),
    /**
     * Of which sequence slopes are where heads are no power of two: the sequence of the power below and
     * every other of the power above, unless said; `above`: all of the power above, every other first.
     */
    slopes: v.optional(v.picklist(['above'])),
  }),
  v.object({ kind: v.literal('none') }),
]);
export type Positions = v.InferOutput<typeof positionsSchema>;
export type RotaryPositions = v.InferOutput<typeof rotarySchema>;

/** A rotary embedding as `flash.json` holds it, and {@link rotarySchema} reads it. */
export function storedRotary(positions: RotaryPositions): v.InferInput<typeof rotarySchema> {
  const { scaling } = positions;
  if (scaling.kind !== 'llama3') return { ...positions, scaling };
  return { ...positions, scaling: { ...scaling, kind: storedLlama3 } };
}
