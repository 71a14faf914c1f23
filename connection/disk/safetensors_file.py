"""Tensors by name → the bytes of a safetensors file, one tensor after the other: no second copy of a model in memory.

The same bytes as `safetensors.torch.save` makes, which needs twice the model's size for them.
The format: a header's length (8 bytes, little-endian), the header in JSON, the tensors end to end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def safetensors_chunks(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The file of these tensors in pieces. tensors: float32, on any device. Raises TypeError for another type."""
    names = sorted(tensors)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        if tensors[name].dtype != torch.float32:
            raise TypeError(f"{name} is {tensors[name].dtype}, not float32")
        start, end = end, end + 4 * tensors[name].numel()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        yield tensors[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
