/** What is kept about a layer's neurons outside of the memories. */

/** Per neuron; `NeuronStore`, its policy and the frequencies hold these. */
const perNeuron = {
  slotOf: 4,
  selectionSlots: 4,
  selectionHit: 1,
  policyValue: 8,
  prior: 4,
  frequency: 4,
  missing: 4,
  worth: 8,
  wantedAt: 8,
  values: 8,
  isLanding: 1,
};
/** Per slot, of which a layer has at most one for each neuron. */
const perSlot = { pointer: 4, free: 8, candidates: 4 };

const bytesOf = (table: Readonly<Record<string, number>>) =>
  Object.values(table).reduce((sum, bytes) => sum + bytes, 0);

/** Bytes of book-keeping for a layer, with a slot for each neuron. */
export function bookkeepingBytes(neurons: number): number {
  return neurons * (bytesOf(perNeuron) + bytesOf(perSlot));
}
