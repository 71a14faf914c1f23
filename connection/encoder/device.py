"""The device of a run: its choice and self-test, whether bfloat16 is faster on it, and its memory."""

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
from connection.encoder.packed.processor import has_bfloat16
from connection.encoder.packed.products import linear
from connection.randomness import DEVICE_TRIAL, derive
from connection.script.environment import usable_cpus
from connection.text import counted

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert

MOST_DIFFERENCE = 1e-3  # between a device's vectors and the CPU's in float32; rounding causes about 1e-6


def prepare_device(name: str, precision: str, threads: int) -> torch.device:
    """Choose the device named by DEVICE, set torch's threads, check PRECISION, and print the device.

    threads: the number of CPU threads; 0 means torch's default, but no more than the CPUs that the process may use.
    """
    if threads or usable_cpus() < torch.get_num_threads():
        torch.set_num_threads(threads or usable_cpus())
    device = pick_device(name)
    check_precision(precision, device)
    print(f"Device: {describe_device(device)}, {precision}")
    return device


def pick_device(name: str) -> torch.device:
    """The device named by DEVICE; "auto" means CUDA, else MPS (Apple GPUs), else the CPU. Raises UserMistake if missing."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserMistake(
                f'DEVICE is "{name}", but torch {torch.__version__} finds no CUDA GPU. Set DEVICE = "auto", or install the '
                "GPU's driver and a torch that is built for CUDA."
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserMistake(f'DEVICE is "{name}", but there are {torch.cuda.device_count()} GPUs, numbered from cuda:0.')
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserMistake('DEVICE is "mps", but torch finds no Apple GPU. Set DEVICE = "auto".')
    return device


def move_checked(encoder: ConnectionBert, device: torch.device) -> ConnectionBert:
    """Move an encoder to its device, and check that it computes the same vectors there as on the CPU.

    Raises UserMistake if they differ by more than MOST_DIFFERENCE. Without this check, a faulty driver or version of torch
    would silently train and choose wrong weights.
    """
    if device.type == "cpu":
        return encoder.to(device)
    expected = _trial_vectors(encoder)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    actual = _trial_vectors(encoder.to(device))
    torch.set_float32_matmul_precision(precision)
    difference = float(np.abs(actual - expected).max())
    if not difference <= MOST_DIFFERENCE:
        raise UserMistake(
            f"DEVICE: {describe_device(device)} gives other vectors than the CPU (unit vectors differ by up to "
            f'{difference:.2g}), so torch {torch.__version__} computes wrongly on it. Set DEVICE = "cpu", or install another '
            "version of torch."
        )
    return encoder


def _trial_vectors(encoder: ConnectionBert) -> np.ndarray:
    """Unit embeddings (8, H) of sentences of 3 to 60 pseudo-random tokens, some of equal length."""
    vocabulary_size, sentences = encoder.bert.config.vocab_size, []
    for row, length in enumerate((3, 7, 7, 12, 25, 25, 41, 60)):
        positions = np.arange(min(length, encoder.max_tokens))
        sentences.append((derive(0, DEVICE_TRIAL, row, positions) % np.uint64(vocabulary_size)).astype(np.int32))
    vectors = encoder.encode_tokens(sentences)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def describe_device(device: torch.device) -> str:
    """A description of the device, for the first line of a run.

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
    """Set the precision of torch's float32 products. Raises UserMistake for tf32 and bfloat16 on a card without units for them.

    On other devices tf32 is refused, and a line says where bfloat16 does not pay: a CPU without instructions for it computes
    in float32, and on any other device a product may take longer, by a measurement that changes nothing else.
    """
    on_card = device.type == "cuda"
    has_units = on_card and torch.cuda.get_device_capability(device) >= (8, 0)
    if not has_units and (precision == "tf32" or (on_card and precision == "bfloat16")):
        raise UserMistake(
            f'PRECISION is "{precision}", which {describe_device(device)} has no units for; NVIDIA GPUs since Ampere (2020) '
            'have them. Set PRECISION = "float32".'
        )
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    if precision != "bfloat16" or on_card:
        return
    if device.type == "cpu" and not has_bfloat16():
        print('PRECISION is "bfloat16", but this CPU has no instructions for it (avx512_bf16 or AMX): float32 is used.')
        return
    seconds = {dtype: _product_seconds(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    ratio = seconds[torch.bfloat16] / seconds[torch.float32]
    if ratio > 1:
        print(
            f'PRECISION is "bfloat16", but here a matrix product in bfloat16 takes {ratio:.1f} times as long as in float32: '
            'PRECISION = "float32" is faster.'
        )


def _product_seconds(device: torch.device, dtype: torch.dtype) -> float:
    """Median time, in seconds, of the first matrix product of bert-base's feed-forward layer for 512 tokens."""
    tokens = torch.ones(512, 768, device=device, dtype=dtype)
    weight = torch.ones(3072, 768, device=device, dtype=dtype)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        float(linear(tokens, weight)[0, 0])  # reading a value waits for the device
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed torch's random numbers on the CPU and on the device. Takes a tenth of the time of torch.manual_seed."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


@contextlib.contextmanager
def memory_errors_named(device: torch.device, **constants: int) -> Iterator[None]:
    """Turn an out-of-memory error inside the `with` block into a UserMistake that names the constants to reduce."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        named = " or ".join(f"{name} ({value})" for name, value in constants.items())
        raise UserMistake(f"Out of memory on {device}: reduce {named}.") from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch or Python means that the memory of a device or of the machine is exhausted."""
    phrases = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")  # of the various systems
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(phrase in str(error) for phrase in phrases)


def peak_memory_bytes(device: torch.device) -> int | None:
    """Peak memory: of the GPU on CUDA, else of this process. None if unknown (Windows)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
