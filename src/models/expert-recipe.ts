/** The experts of a layer, in each form that checkpoints use. */

import type { ExpertRecipe, ExpertsRecipe, ModelSpec, SourceView, TensorPart } from './spec.ts';

/** Names of experts in the checkpoint, within the layer. */
export interface ExpertNames {
  /** The prefix of all their names, such as `mlp.experts`. */
  readonly prefix: string;
  /** `gate_proj`; of each expert `<prefix>.<number>.gate_proj.weight`, of all in one `<prefix>.gate_proj`. */
  readonly gate: string;
  readonly up: string;
  readonly down: string;
  /** Gate and up rows of all experts in one: `<prefix>.gate_up_proj`. */
  readonly gateUp: string;
  /**
   * Whether gate and up rows alternate in it, beginning with a gate row; otherwise all gate rows precede
   * all up rows.
   */
  readonly interleaved?: boolean;
  /** Whether these, and those of the matching down projection, are stored as (experts, inputs, outputs). */
  readonly transposed?: boolean;
  /** Of all experts in one, such as `<prefix>.gate_proj.bias` (experts, k); absent where there are none. */
  readonly biases?: Readonly<Record<'gate' | 'up' | 'down' | 'gateUp', string>>;
}

/** The names that most families use. */
export const commonExpertNames: ExpertNames = {
  prefix: 'mlp.experts',
  gate: 'gate_proj',
  up: 'up_proj',
  down: 'down_proj',
  gateUp: 'gate_up_proj',
};

/**
 * Every other row of a tensor with alternating gate and up rows.
 * @param source (experts, 2k, ...columns), or of biases (experts, 2k)
 * @param transposed whether it is (experts, columns, 2k)
 * @returns a view of (experts k, ...columns) and its name
 */
export function everyOther(
  source: string,
  part: 'gate' | 'up',
  [experts, both, ...columns]: readonly [experts: number, both: number, ...columns: number[]],
  transposed = false,
): { readonly name: string; readonly view: SourceView; readonly shape: readonly number[] } {
  const count = (experts * both) / 2;
  const first = part === 'gate' ? 0 : 1;
  return {
    name: `${source}, ${part} rows`,
    shape: [count, ...columns],
    view: {
      source,
      shape: transposed ? [experts, ...columns, both] : [experts, both, ...columns],
      transposed,
      flattened: [experts * both, ...columns],
      order: { count, sourceOf: (row) => 2 * row + first },
    },
  };
}

/**
 * The recipe of a layer's experts, by the form that the checkpoint's names show:
 *
 *   gate_up_proj (experts, 2k, hidden), down_proj (experts, hidden, k)           gate rows first
 *   gate_proj, up_proj (experts, k, hidden), down_proj (experts, hidden, k)
 *   gate_proj, up_proj (k, hidden), down_proj (hidden, k), of each expert; also used if no name is found
 *
 * The first two have these names, with or without `.weight` at the end.
 *
 * @param from the layer's prefix, such as `model.layers.0`
 * @param addView adds a view under a name that the checkpoint does not have
 */
export function expertsRecipe(
  { hiddenSize, ffn }: ModelSpec,
  layer: number,
  from: string,
  names: ExpertNames,
  found: ReadonlySet<string>,
  addView: (name: string, view: SourceView) => void,
): ExpertsRecipe {
  const { count = 0, neurons = 0 } = ffn.experts ?? {};
  const gated = ffn.gate !== 'none';
  const prefix = `${from}.${names.prefix}`;
  const nameOf = (name: string) =>
    [`${prefix}.${name}`, `${prefix}.${name}.weight`].find((known) => found.has(known));
  /** Rows of one expert in a tensor of all experts, each of which has `all` rows; they begin at `first`. */
  const within =
    (name: string, all: number, columns: number, first = 0, rows = all) =>
    (expert: number): TensorPart => ({
      source: nameOf(name) ?? `${prefix}.${name}`,
      shape: [count, all, columns],
      rows: { first: expert * all + first, count: rows },
    });
  const ofEach =
    (name: string, rows: number, columns: number) =>
    (expert: number): TensorPart => ({
      source: `${prefix}.${expert}.${name}.weight`,
      shape: [rows, columns],
    });
  const experts = (
    gate: (expert: number) => TensorPart,
    up: (expert: number) => TensorPart,
    down: (expert: number) => TensorPart,
  ) =>
    Array.from(
      { length: count },
      (_, expert): ExpertRecipe => ({
        ...(gated && { gate: gate(expert) }),
        ...{ up: up(expert), down: down(expert) },
      }),
    );
  /** The same for a tensor with transposed matrices. */
  const turned = (part: (expert: number) => TensorPart) => {
    const { source, shape } = part(0);
    const [all = 0, rows = 0, columns = 0] = shape;
    const name = `${source}, transposed`;
    addView(name, { source, shape: [all, columns, rows], transposed: true });
    return (expert: number) => ({ ...part(expert), source: name });
  };
  const recipe = { layer, neurons, hiddenSize };
  const allDown = within(names.down, hiddenSize, neurons);
  if (gated && nameOf(names.gateUp) !== undefined) {
    if (names.interleaved) {
      const rows = (part: 'gate' | 'up') => {
        const source = `${prefix}.${names.gateUp}`;
        const all = [count, 2 * neurons, hiddenSize] as const;
        const { name, view, shape } = everyOther(source, part, all, names.transposed);
        addView(name, view);
        const range = (expert: number) => ({ first: expert * neurons, count: neurons });
        return (expert: number) => ({ source: name, shape, rows: range(expert) });
      };
      const down = names.transposed ? turned(allDown) : allDown;
      return { ...recipe, experts: experts(rows('gate'), rows('up'), down) };
    }
    const half = (first: number) => within(names.gateUp, 2 * neurons, hiddenSize, first, neurons);
    return { ...recipe, experts: experts(half(0), half(neurons), allDown) };
  }
  if (nameOf(names.up) !== undefined) {
    const all = (name: string) => within(name, neurons, hiddenSize);
    return { ...recipe, experts: experts(all(names.gate), all(names.up), allDown) };
  }
  const each = (name: string) => ofEach(name, neurons, hiddenSize);
  const down = ofEach(names.down, hiddenSize, neurons);
  return { ...recipe, experts: experts(each(names.gate), each(names.up), down) };
}
