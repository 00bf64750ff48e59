/** Names of modules and tensors, as adapters and checkpoints write them. */

/** The head in the Hugging Face world. */
export const headModule = 'lm_head';

/** What stands before all names of an adapter. */
const wrapper = /^base_model\.model\./;
/** Outer modules, which a checkpoint of the inner ones does not name. */
const outer = /^(?:model|transformer|decoder)\./;

/** A name from an adapter as the model itself has it. */
export function unwrapped(name: string): string {
  return name.replace(wrapper, '');
}

/** The same for a name with and without the modules around the decoder. */
export function innerName(name: string): string {
  let inner = name;
  while (outer.test(inner)) inner = inner.replace(outer, '');
  return inner;
}

/** `model.norm` of `model.norm.weight`. */
export function moduleOf(tensorName: string): string {
  return tensorName.slice(0, Math.max(0, tensorName.lastIndexOf('.')));
}

/** Whether `name` is one of `wanted`, or ends with one of them behind a dot. */
export function endsWithOneOf(name: string, wanted: readonly string[]): boolean {
  return wanted.some((end) => name === end || name.endsWith(`.${end}`));
}
