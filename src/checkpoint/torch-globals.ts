/**
 * The few names that the pickle of a torch checkpoint may use, and their meaning here: storages, tensors
 * over them, and the dictionaries that hold them. Every other name is refused, since a pickle may name any
 * Python function and have it called.
 */

import { brief, printable } from './json-file.ts';
import {
  type PickleHost,
  PickleObject,
  PickleOpaque,
  PickleRefusal,
  PickleTuple,
  type PickleValue,
} from './pickle-values.ts';
import { dtypeOfTorchStorage, sourceDTypes } from './source-dtype.ts';
import { damaged, numbers, StorageRef, TensorRef } from './torch-refs.ts';

/** A storage class, such as torch.HalfStorage. */
class StorageClass extends PickleObject {
  readonly dtype: string;
  constructor(dtype: string) {
    super();
    this.dtype = dtype;
  }
}

/** A value like torch.float16. */
class TorchDType extends PickleObject {
  readonly dtype: string;
  constructor(dtype: string) {
    super();
    this.dtype = dtype;
  }
}

/** A function or class that may be called; calling it runs only code in this file. */
class Callable extends PickleObject {
  readonly run: (args: readonly PickleValue[]) => PickleValue;
  constructor(run: (args: readonly PickleValue[]) => PickleValue) {
    super();
    this.run = run;
  }
}

const opaque = new PickleOpaque();

/** Most arguments of a call; `_rebuild_tensor_v3` takes 8. */
const maxArguments = 16;

/**
 * The most storages of one file; each is located separately. A state_dict has one for each
 * tensor: a few thousand at most.
 */
const maxStorages = 2 ** 16;

/** The most pairs in all OrderedDicts together: a pickle can use the same list many times. */
const maxPairs = 2 ** 20;

/** _rebuild_tensor(storage, offset, shape, strides), and v2 with (requires_grad, hooks, metadata?) */
function rebuildTensor(args: readonly PickleValue[]): TensorRef {
  const [storage, ...geometry] = args;
  if (!(storage instanceof StorageRef)) throw damaged('a tensor without a storage');
  refuseMetadata(args[6]);
  return new TensorRef(storage, storage.dtype, geometry);
}

/** v3, for dtypes without a storage class: (..., requires_grad, hooks, dtype, metadata?) */
function rebuildTensorV3(args: readonly PickleValue[]): TensorRef {
  const [storage, ...geometry] = args;
  const dtype = args[6];
  if (!(storage instanceof StorageRef)) throw damaged('a tensor without a storage');
  if (!(dtype instanceof TorchDType)) throw damaged('a tensor without a dtype');
  refuseMetadata(args[7]);
  return new TensorRef(storage, dtype.dtype, geometry);
}

/** Metadata may say that the values are meant negated or conjugated. */
function refuseMetadata(metadata: PickleValue | undefined): void {
  if (!(metadata instanceof Map) || metadata.size === 0) return;
  if (metadata.size > maxArguments || [...metadata.values()].some((value) => value !== false)) {
    const keys = [...metadata.keys()]
      .slice(0, 4)
      .map((key) => (typeof key === 'string' ? brief(key) : 'strange'));
    throw new PickleRefusal(`a tensor with metadata (${keys.join(', ')}) is not supported`);
  }
}

/** _rebuild_parameter(tensor, requires_grad, hooks, state?): the tensor. */
function rebuildParameter([tensor]: readonly PickleValue[]): TensorRef {
  if (tensor instanceof TensorRef) return tensor;
  throw damaged('a parameter without a tensor');
}

/** OrderedDict(), or with a list of pairs as Python 2 wrote it. */
function orderedDict([pairs]: readonly PickleValue[]): Map<PickleValue, PickleValue> {
  const dict = new Map<PickleValue, PickleValue>();
  if (pairs === undefined) return dict;
  if (!Array.isArray(pairs)) throw damaged('an OrderedDict that does not consist of pairs');
  for (const pair of pairs) {
    const items = pair instanceof PickleTuple ? pair.items : pair;
    if (!Array.isArray(items) || items.length !== 2) throw damaged('a key without a value');
    dict.set(items[0], items[1]);
  }
  return dict;
}

/** torch.Size(sizes): the tuple. */
function torchSize([sizes]: readonly PickleValue[]): PickleTuple {
  return new PickleTuple(numbers(sizes));
}

/** All permitted names except the storage classes and dtypes. */
const callables: Readonly<Record<string, (args: readonly PickleValue[]) => PickleValue>> = {
  'collections.OrderedDict': orderedDict,
  'torch._utils._rebuild_tensor': rebuildTensor,
  'torch._utils._rebuild_tensor_v2': rebuildTensor,
  'torch._utils._rebuild_tensor_v3': rebuildTensorV3,
  'torch._utils._rebuild_parameter': rebuildParameter,
  'torch._utils._rebuild_parameter_with_state': rebuildParameter,
  'torch.Size': torchSize,
  'torch.device': () => opaque,
  'torch.serialization._get_layout': () => opaque,
};

/** Known by name only, so that the error for a tensor that uses one can name it. */
const otherStorages: Readonly<Record<string, string>> = {
  ComplexDoubleStorage: 'complex128',
  ComplexFloatStorage: 'complex64',
  QInt8Storage: 'qint8',
  QInt32Storage: 'qint32',
  QUInt8Storage: 'quint8',
  QUInt4x2Storage: 'quint4x2',
  QUInt2x4Storage: 'quint2x4',
};

/** As above: dtypes that have no storage class, or that are not supported. */
const otherDTypes = [
  ...['uint16', 'uint32', 'uint64', 'complex32', 'complex64', 'complex128'],
  ...['float8_e4m3fn', 'float8_e4m3fnuz', 'float8_e5m2', 'float8_e5m2fnuz', 'float8_e8m0fnu'],
  ...['float4_e2m1fn_x2', 'qint8', 'qint32', 'quint8', 'quint4x2', 'quint2x4'],
];

function knownGlobals(): ReadonlyMap<string, PickleValue> {
  const globals = new Map<string, PickleValue>();
  for (const [name, run] of Object.entries(callables)) globals.set(name, new Callable(run));
  const storages = new Map<string, string>(Object.entries(otherStorages));
  for (const [name, dtype] of dtypeOfTorchStorage) storages.set(name, sourceDTypes[dtype].torch);
  for (const [name, dtype] of storages) {
    globals.set(`torch.${name}`, new StorageClass(dtype));
    globals.set(`torch.cuda.${name}`, new StorageClass(dtype));
  }
  // A storage of bytes, for tensors that carry their dtype themselves.
  globals.set('torch.storage.UntypedStorage', new StorageClass('uint8'));
  globals.set('torch.UntypedStorage', new StorageClass('uint8'));
  const dtypes = Object.values(sourceDTypes).map((row) => row.torch);
  for (const dtype of [...dtypes, ...otherDTypes]) {
    globals.set(`torch.${dtype}`, new TorchDType(dtype));
  }
  return globals;
}

const globals = knownGlobals();

/** The operations that the pickle of one torch file may use. */
export class TorchHost implements PickleHost {
  /** All storages named so far, by key. */
  readonly storages = new Map<string, StorageRef>();
  #pairs = 0;

  global(module: string, name: string): PickleValue {
    const known = globals.get(`${module}.${name}`);
    if (known !== undefined) return known;
    throw new PickleRefusal(
      `the pickle names ${printable(`${module}.${name}`)}, which is refused: a pickle could run any code this way`,
      'If you trust the file, load it in Python and save its state_dict again as safetensors',
    );
  }

  call(callable: PickleValue, args: PickleTuple): PickleValue {
    if (!(callable instanceof Callable)) throw damaged('it calls something that is not a function');
    const [first] = args.items;
    if (Array.isArray(first)) this.#pairs += first.length;
    if (args.items.length > maxArguments || this.#pairs > maxPairs) {
      throw damaged('a call with too many arguments');
    }
    return callable.run(args.items);
  }

  /**
   * State consists of attributes: the `_metadata` of a state_dict, or attributes that users added to a
   * parameter.
   */
  build(object: PickleValue): void {
    if (!(object instanceof Map || object instanceof TensorRef)) {
      throw damaged('state for an object without state');
    }
  }

  /** ('storage', class, key, location, elements), and in legacy files a view or None. */
  persistent(id: PickleValue): PickleValue {
    if (!(id instanceof PickleTuple)) throw damaged('an external object without a description');
    const [kind, storageClass, key, , elements, view] = id.items;
    if (kind === 'module') {
      throw new PickleRefusal(
        'the file holds a whole module with its source, not a state_dict',
        'Load it in Python and save its state_dict as safetensors',
      );
    }
    if (
      kind !== 'storage' ||
      !(storageClass instanceof StorageClass) ||
      typeof key !== 'string' ||
      typeof elements !== 'number'
    ) {
      throw damaged('an external object that is not a storage');
    }
    if (this.storages.size >= maxStorages && !this.storages.has(key)) {
      throw new PickleRefusal(`the pickle names more than ${maxStorages} storages`);
    }
    const isView = view !== undefined && view !== null;
    const storage = new StorageRef(key, storageClass.dtype, elements, isView);
    this.storages.set(key, storage);
    return storage;
  }
}
