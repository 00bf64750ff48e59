/** Copies evenly spaced elements between two byte arrays, in the widest unit that both allow. */

/** Copies `count` elements; positions and steps in elements. */
export type Gather = (
  from: number,
  fromStep: number,
  to: number,
  toStep: number,
  count: number,
) => void;

/** Integer arrays, never float ones: a float register may change the payload of a NaN. */
type Units = Uint8Array | Uint16Array | Uint32Array;

/** Elements of `elementBytes` (1, 2, 4 or 8) from `source` to `target`. */
export function gatherFor(source: Uint8Array, target: Uint8Array, elementBytes: number): Gather {
  const unitBytes = [4, 2, 1].find(
    (bytes) =>
      elementBytes % bytes === 0 &&
      source.byteOffset % bytes === 0 &&
      target.byteOffset % bytes === 0,
  ) as 1 | 2 | 4;
  const from = unitsOf(source, unitBytes);
  const to = unitsOf(target, unitBytes);
  const units = elementBytes / unitBytes;
  return (fromStart, fromStep, toStart, toStep, count) => {
    if (fromStep === 1 && toStep === 1) {
      to.set(from.subarray(fromStart * units, (fromStart + count) * units), toStart * units);
      return;
    }
    for (let unit = 0; unit < units; unit++) {
      let read = fromStart * units + unit;
      let write = toStart * units + unit;
      for (let i = 0; i < count; i++) {
        to[write] = from[read] as number;
        read += fromStep * units;
        write += toStep * units;
      }
    }
  };
}

function unitsOf(bytes: Uint8Array, unitBytes: 1 | 2 | 4): Units {
  const length = Math.floor(bytes.byteLength / unitBytes);
  if (unitBytes === 4) return new Uint32Array(bytes.buffer, bytes.byteOffset, length);
  if (unitBytes === 2) return new Uint16Array(bytes.buffer, bytes.byteOffset, length);
  return bytes;
}
