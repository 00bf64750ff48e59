/** The assembly classes with which kernels compute in each format, one line per format. */

import type { FormatName, FoursFormat, GgufDType, NeuronDType } from '../dtype.ts';

/** Classes in assembly with which the generic kernels compute in a format. */
interface Arithmetic {
  /** Products of rows with activations: a `Dots`, for neurons a `NeuronDots`. */
  readonly dots: string;
}

interface NeuronArithmetic extends Arithmetic {
  /** Sums of down columns, as stored and unpacked: `Columns`. */
  readonly columns: string;
  readonly unpacked: string;
}

interface GgufArithmetic extends Arithmetic {
  /** A class in assembly/stored-rows.ts. */
  readonly rows: string;
}

interface CodecArithmetic extends Arithmetic {
  /** A `GroupCodec`. */
  readonly codec: string;
}

/** For formats of single weights. */
const plain = (codec: string): NeuronArithmetic => ({
  dots: `PlainDots<${codec}>`,
  columns: `PlainColumns<${codec}>`,
  unpacked: 'PlainColumns<Unpacked>',
});

/** For blocks that are multiplied with activations quantised to i16. */
const blocks = (codec: string): NeuronArithmetic => ({
  dots: `QuantisedDots<${codec}>`,
  columns: `QuantisedColumns<${codec}>`,
  unpacked: 'QuantisedColumns<UnpackedBlock>',
});

/** For blocks that are multiplied with activations quantised to i8. */
const groups = (codec: string): GgufArithmetic & CodecArithmetic => ({
  dots: `GroupDots<${codec}>`,
  rows: `GroupRows<${codec}>`,
  codec,
});

/** For the same blocks with four rows interleaved. */
const fours = (codec: string): CodecArithmetic => ({ dots: `PackedGroupDots<${codec}>`, codec });

/** The same for formats that are only read. */
const storedBlocks = (codec: string): GgufArithmetic => ({
  dots: `QuantisedDots<${codec}>`,
  rows: `BlockRows<${codec}>`,
});

export const neuronArithmetic: Readonly<Record<NeuronDType | 'packed_f16', NeuronArithmetic>> = {
  f32: plain('F32'),
  f16: plain('F16'),
  bf16: plain('BF16'),
  q8: blocks('Q8'),
  q4: blocks('Q4'),
  ternary: {
    dots: 'TernaryDots',
    columns: 'TernaryColumns',
    unpacked: 'PlainColumns<Unpacked>',
  },
  packed_f16: plain('PackedF16'),
};

const storedGroups = {
  q4_0: groups('Q4_0'),
  q4_1: groups('Q4_1'),
  q5_0: groups('Q5_0'),
  q5_1: groups('Q5_1'),
  mxfp4: groups('MXFP4'),
  q2_k: groups('Q2_K'),
  q3_k: groups('Q3_K'),
  q4_k: groups('Q4_K'),
  q5_k: groups('Q5_K'),
  q6_k: groups('Q6_K'),
};

export const ggufArithmetic: Readonly<Record<GgufDType, GgufArithmetic>> = {
  ...storedGroups,
  q8_0: storedBlocks('Q8_0'),
  iq4_nl: storedBlocks('IQ4_NL'),
  iq4_xs: { dots: 'IQ4_XSDots', rows: 'IQ4_XSRows' },
};

export const foursArithmetic: Readonly<Record<FoursFormat, CodecArithmetic>> = {
  packed_q4_0: fours('Q4_0'),
  packed_q4_1: fours('Q4_1'),
  packed_q5_0: fours('Q5_0'),
  packed_q5_1: fours('Q5_1'),
  packed_mxfp4: fours('MXFP4'),
  packed_q2_k: fours('Q2_K'),
  packed_q3_k: fours('Q3_K'),
  packed_q4_k: fours('Q4_K'),
  packed_q5_k: fours('Q5_K'),
  packed_q6_k: fours('Q6_K'),
};

/** For all formats whose activations are quantised to i8. */
export const groupArithmetic = { ...storedGroups, ...foursArithmetic };

/** The same generic function with the arithmetic of each format in `of`. */
export function each<Name extends FormatName, Of extends Arithmetic>(
  of: Readonly<Record<Name, Of>>,
  kernel: string,
  ...classes: readonly (keyof Of)[]
): Readonly<Record<Name, string>> {
  const names = Object.keys(of) as Name[];
  const entry = (name: Name) => {
    const types = classes.map((part) => of[name][part]).join(', ');
    return [name, `${kernel}<${types}>`] as const;
  };
  return Object.fromEntries(names.map(entry)) as Record<Name, string>;
}

/** For all formats. */
export const arithmetic: Readonly<Record<FormatName, Arithmetic>> = {
  ...neuronArithmetic,
  ...ggufArithmetic,
  ...foursArithmetic,
};
