"""SHA-256 of every tensor's float32 values, as the `gguf` package dequantises them (of floats of
16 bits: of their bytes), for compare-blocks.ts.

    python scripts/gguf-hashes.py <file.gguf> > hashes.json

Needs gguf.
"""

import hashlib
import json
import sys

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize

found = {}
for tensor in GGUFReader(sys.argv[1]).tensors:
    values = tensor.data
    if tensor.tensor_type.name not in ("F16", "BF16"):
        values = dequantize(values, tensor.tensor_type).astype(numpy.float32)
    found[tensor.name] = {
        "type": tensor.tensor_type.name,
        "sha256": hashlib.sha256(numpy.ascontiguousarray(values).tobytes()).hexdigest(),
    }
print(json.dumps(found))
