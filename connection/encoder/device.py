"""The machine that a run computes on: which device, whether a precision is worth it there, what it has used."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from connection import UserMistake
from connection.encoder.packed.products import linear
from connection.randomness import DEVICE_TRIAL, derive
from connection.script.environment import usable_cpus
from connection.text import counted

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert

MOST_DIFFERENCE = 1e-3  # between a device's vectors and the CPU's; rounding makes about 1e-6, TF32 about 1e-4


def prepare_device(wanted: str, precision: str, threads: int) -> torch.device:
    """The device that DEVICE names, checked against PRECISION and told to the person.

    threads: 0 takes torch's own choice, but no more than the CPUs that the process may use.
    """
    if threads or usable_cpus() < torch.get_num_threads():
        torch.set_num_threads(threads or usable_cpus())
    device = pick_device(wanted)
    check_precision(precision, device)
    print(f"Device: {describe_device(device)}, {precision}")
    return device


def pick_device(wanted: str) -> torch.device:
    """The device named by DEVICE; "auto" takes CUDA, else MPS (Apple), else the CPU. Raises UserMistake if it is not there."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserMistake(
                f'DEVICE is "{wanted}", but torch {torch.__version__} finds no CUDA card here. Set DEVICE = "auto", or '
                "install a torch that was built for CUDA, and the card's driver."
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserMistake(f'DEVICE is "{wanted}", but there are {torch.cuda.device_count()} cards, counted from cuda:0.')
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserMistake('DEVICE is "mps", but torch finds no Apple graphics processor here. Set DEVICE = "auto".')
    return device


def move_checked(encoder: ConnectionBert, device: torch.device) -> ConnectionBert:
    """Move an encoder to its device, and check that it gives the CPU's vectors there.

    Raises UserMistake where they are further apart than MOST_DIFFERENCE: a driver or a version of torch that computes
    wrongly would otherwise train and choose the wrong weights without a word.
    """
    if device.type == "cpu":
        return encoder.to(device)
    expected = _trial_vectors(encoder)
    found = _trial_vectors(encoder.to(device))
    difference = float(np.abs(found - expected).max())
    if not difference <= MOST_DIFFERENCE:
        raise UserMistake(
            f"DEVICE: {describe_device(device)} gives other vectors than the CPU (up to {difference:.2g} apart where they have "
            f'length 1): torch {torch.__version__} computes wrongly there. Set DEVICE = "cpu", or install another torch.'
        )
    return encoder


def _trial_vectors(encoder: ConnectionBert) -> np.ndarray:
    """Embeddings (8, H), scaled to length 1, of sentences of 3 to 60 tokens, some of them equally long."""
    pieces, sentences = encoder.bert.config.vocab_size, []
    for row, length in enumerate((3, 7, 7, 12, 25, 25, 41, 60)):
        places = np.arange(min(length, encoder.max_tokens))
        sentences.append((derive(0, DEVICE_TRIAL, row, places) % np.uint64(pieces)).astype(np.int32))
    vectors = encoder.encode_tokens(sentences)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def describe_device(device: torch.device) -> str:
    """The device in words, for the first line of a run.

    >>> describe_device(torch.device("cpu")).startswith("CPU")
    True
    """
    if device.type == "cuda":
        return f"CUDA, {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return "MPS, the Apple graphics processor"
    return (
        f"CPU, {platform.machine()} with {counted(os.cpu_count() or 1, 'core')}, {counted(torch.get_num_threads(), 'thread')}"
    )


def check_precision(precision: str, device: torch.device) -> None:
    """Raise UserMistake where bfloat16 would only be slower than float32: measured on the spot, by a matrix product."""
    if precision == "float32":
        return
    seconds = {dtype: _product_seconds(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    ratio = seconds[torch.bfloat16] / seconds[torch.float32]
    if ratio > 1:
        raise UserMistake(
            f'PRECISION is "bfloat16", but on this processor a matrix product in bfloat16 takes {ratio:.1f} times as long '
            'as in float32: it has no instructions for it. Set PRECISION = "float32".'
        )


def _product_seconds(device: torch.device, dtype: torch.dtype) -> float:
    """Median time of the product that BERT's feed-forward layer makes of 512 tokens, in seconds."""
    tokens = torch.ones(512, 768, device=device, dtype=dtype)
    weight = torch.ones(3072, 768, device=device, dtype=dtype)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        float(linear(tokens, weight)[0, 0])  # reading a number waits for the device
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


@contextlib.contextmanager
def memory_errors_named(device: torch.device, **constants: int) -> Iterator[None]:
    """Turn a device's memory that is used up into one sentence that names these constants, which decide how much it takes."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        named = " or ".join(f"{name} ({value})" for name, value in constants.items())
        raise UserMistake(f"There is too little memory on {device}: make {named} smaller.") from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch or Python says that a device's memory, or the machine's, is used up: each system in its own words."""
    said = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in str(error) for words in said)


def peak_memory_bytes(device: torch.device) -> int | None:
    """The most memory that was in use: of the card's where there is one, else of this process; None if not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
