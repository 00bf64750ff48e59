/** Names of modules and tensors, as adapters and checkpoints write them. */

/** The head's name in Hugging Face models. */
export const headModule = 'lm_head';

/** The prefix of all names of an adapter. */
const wrapper = /^base_model\.model\./;
/** Outer modules, which the names in a checkpoint of the inner model leave out. */
const outer = /^(?:model|transformer|decoder)\./;

/** The model's own form of a name from an adapter. */
export function unwrapped(name: string): string {
  return name.replace(wrapper, '');
}

/** One form for a name with or without the modules around the decoder. */
export function innerName(name: string): string {
  let inner = name;
  while (outer.test(inner)) inner = inner.replace(outer, '');
  return inner;
}

/** `model.norm` of `model.norm.weight`. */
export function moduleOf(tensorName: string): string {
  return tensorName.slice(0, Math.max(0, tensorName.lastIndexOf('.')));
}

/** Whether `name` is one of `wanted`, or ends with a dot and one of them. */
export function endsWithOneOf(name: string, wanted: readonly string[]): boolean {
  return wanted.some((end) => name === end || name.endsWith(`.${end}`));
}
