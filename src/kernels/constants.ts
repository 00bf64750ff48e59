/**
 * Numbers that TypeScript and the compute core must agree on. "npm run generate"
 * writes them to assembly/exports/shared-constants.ts, the module exports them again, and bind.ts
 * compares.
 */

import { formatNames, formats } from '../dtype.ts';

/** Activation functions: their codes, and whether most of their values are exactly 0. */
export const activationFunctions = {
  none: { code: 0, zeros: false },
  relu: { code: 1, zeros: true },
  /** max(x, 0)^2 */
  relu2: { code: 5, zeros: true },
  /** x above a threshold, else 0 */
  fatrelu: { code: 6, zeros: true },
  /** x/2 (1 + erf(x / sqrt 2)) */
  gelu: { code: 2, zeros: false },
  /** x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
  gelu_tanh: { code: 3, zeros: false },
  /** x / (1 + e^-x) */
  silu: { code: 4, zeros: false },
} as const;

/** Activation functions that kernels know. */
export type KernelActivation = keyof typeof activationFunctions;
export type ActivationCode = (typeof activationFunctions)[KernelActivation]['code'];

const activationNames = Object.keys(activationFunctions) as readonly KernelActivation[];

/** The codes by the functions' names. */
export const activationCodes = Object.fromEntries(
  activationNames.map((name) => [name, activationFunctions[name].code]),
) as { readonly [Name in KernelActivation]: (typeof activationFunctions)[Name]['code'] };

/** Weights of a block that is multiplied with quantised activations, whose blocks have the same length. */
const { blockElements } = formats.q8;

/** Sizes; those whose names end in `Bytes` are usize in the core, others i32. */
export const kernelSizes = {
  /** Entries of a list of neurons whose contributions are summed before they are added. */
  neuronGroup: 64,
  /** Query heads that read keys and values together, each with separate scores. */
  headsTogether: 4,
  /** Positions of a page of the KV cache, a power of two. */
  pagePositions: 16,
  /** Down columns that are unpacked to `scratch` at once and used for all positions. */
  unpackedColumns: 16,
  /** Bytes of a block of their weights, where they are quantised: f32, and a scale. */
  unpackedBlockBytes: blockElements * 4 + 4,
  /** Positions whose activations have room in `scratch`; unpacked weights may take that of some of them. */
  quantisedPositions: 32,
  /** Bytes of a block of these activations (i16), and of their scale, which is stored separately. */
  activationBlockBytes: blockElements * 2,
  activationScaleBytes: 4,
  /**
   * Values of a group that is quantised to i8, and its bytes: for one position, and for two interleaved ones.
   */
  quantisedGroup: 32,
  quantisedGroupBytes: 48,
  quantisedPairBytes: 88,
  /** From this many positions on, they are stored in pairs. */
  pairedPositions: 2,
  /** Bytes of a row's choice of an expert: the row of its contributions, the expert, the weight. */
  choiceBytes: 12,
} as const;

/** The core's name of a constant: NEURON_GROUP for `neuronGroup`. */
function upperSnake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** Every constant that both sides need, under the core's name. */
export const sharedConstants: readonly (readonly [name: string, value: number])[] = [
  ...activationNames.map(
    (name) => [`ACTIVATION_${upperSnake(name)}`, activationCodes[name]] as const,
  ),
  [
    // Bit `code` is set where most values are exactly 0.
    'ACTIVATIONS_WITH_ZEROS',
    activationNames
      .filter((name) => activationFunctions[name].zeros)
      .reduce((bits, name) => bits | (1 << activationCodes[name]), 0),
  ],
  ...Object.entries(kernelSizes).map(([name, value]) => [upperSnake(name), value] as const),
  ...formatNames.flatMap((name) => [
    [`${upperSnake(name)}_BLOCK_ELEMENTS`, formats[name].blockElements] as const,
    [`${upperSnake(name)}_BLOCK_BYTES`, formats[name].blockBytes] as const,
  ]),
];
