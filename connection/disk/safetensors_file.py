"""Tensors by name → the bytes of a safetensors file, one tensor at a time, without a second copy of the model in memory.

The bytes are those of `safetensors.torch.save`, which needs memory for a whole second copy.
The format: the length of the header (8 bytes, little-endian), the header in JSON, the tensors one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

_TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}


def safetensors_chunks(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The file of these tensors, in chunks. tensors: float32, float64 or int64. Raises TypeError for other dtypes."""
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # the library's order
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        if tensors[name].dtype not in _TYPES:
            raise TypeError(f"{name} is {tensors[name].dtype}, not float32, float64 or int64")
        start, end = end, end + tensors[name].nbytes
        header[name] = {"dtype": _TYPES[tensors[name].dtype], "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        yield tensors[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
