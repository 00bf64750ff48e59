import { byteLength } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { alignUp } from '../units.ts';
import type { DeviceFile } from './device-file.ts';
import { sectorBytes } from './layout.ts';
import { type BundleLayer, type Manifest, neuronDType, type StoredTensor } from './manifest.ts';
import type { Extent } from './read-plan.ts';
import type { RowPlaces } from './row-range.ts';

/** One layer's matrices. */
interface LayerPlace {
  readonly layer: BundleLayer;
  /** Bytes of one matrix's row. */
  readonly rowBytes: number;
  /** Where each matrix begins in the file: the parts of a bundle in order. */
  readonly matrices: readonly number[];
}

/** The places of all matrices, by the name of the layer's bundles, and the length of the file. */
export function layoutUnbundled({ layers, spec, dtypes }: Manifest) {
  const places = new Map<string, LayerPlace>();
  const rowBytes = layers.length === 0 ? 0 : byteLength(neuronDType(dtypes), spec.hiddenSize);
  let end = 0;
  for (const layer of layers) {
    const parts = layer.downOffset / rowBytes + 1;
    const matrices = Array.from({ length: parts }, () => {
      const at = end;
      end = alignUp(end + layer.neurons * rowBytes, sectorBytes);
      return at;
    });
    places.set(layer.tensor, { layer, rowBytes, matrices });
  }
  return { places, bytes: end };
}

export class UnbundledNeurons {
  readonly #file: DeviceFile;
  readonly #places: ReadonlyMap<string, LayerPlace>;

  /** @throws InputError when the file is not as long as one of this model */
  constructor(manifest: Manifest, file: DeviceFile) {
    const { places, bytes } = layoutUnbundled(manifest);
    if (file.size !== bytes) {
      const place = { file: file.path };
      throw new InputError(`has ${file.size} bytes, not the ${bytes} of this model's FFNs`, place);
    }
    this.#file = file;
    this.#places = places;
  }

  /** The extents to read for neurons of a layer, each into its bundle's place; null for other tensors. */
  extents(tensor: StoredTensor, places: RowPlaces, memory: WebAssembly.Memory): Extent[] | null {
    const found = this.#places.get(tensor.name);
    if (found === undefined) return null;
    const { rowBytes, matrices } = found;
    return matrices.flatMap((matrix, part) =>
      places.rows.map((row, i) => ({
        file: this.#file,
        position: matrix + row * rowBytes,
        target: new Uint8Array(
          memory.buffer,
          (places.addresses[i] ?? 0) + part * rowBytes,
          rowBytes,
        ),
      })),
    );
  }
}
