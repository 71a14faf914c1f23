"""The device: what THREADS and PRECISION do to torch, and what a process has used of the memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import ConnectionBert as connection_bert
from connection import UserMistake
from connection.encoder.device import memory_errors_named, peak_memory_bytes, prepare_device
from ConnectionBert import ConnectionBert


def test_threads_are_those_that_are_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    prepare_device("cpu", "float32", 3)
    prepare_device("cpu", "float32", 0)
    assert asked == [3]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr("connection.encoder.device.usable_cpus", lambda: 2)
    prepare_device("cpu", "float32", 0)
    assert asked == [3, 2]
    assert capsys.readouterr().out.startswith("Device: CPU")


def test_the_peak_is_that_of_the_process() -> None:
    before = peak_memory_bytes(torch.device("cpu"))
    if before is None:
        pytest.skip("this system does not tell")
    block = np.ones(30_000_000)  # 240 MB
    after = peak_memory_bytes(torch.device("cpu"))
    assert after is not None and 100e6 < before < 1e12 and after >= min(before + 1, block.nbytes)


def test_the_cpu_encodes_about_a_cache_full_at_a_time_and_a_card_more(
    tiny_encoder: Path, sentence_factory: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connection_bert.TOKENS_AT_ONCE_ON_CPU < connection_bert.TOKENS_AT_ONCE_ON_CARD
    encoder = ConnectionBert.load(tiny_encoder)
    sizes: list[int] = []
    forward = ConnectionBert.forward
    monkeypatch.setattr(
        ConnectionBert, "forward", lambda self, batch: (sizes.append(len(batch.input_ids)), forward(self, batch))[1]
    )
    tokens = encoder.tokenize(sentence_factory(300))[0]
    encoder.encode_tokens(tokens, batch_size=10_000)
    total = sum(map(len, tokens))
    assert total > 2 * connection_bert.TOKENS_AT_ONCE_ON_CPU  # so that the bound has something to do
    assert max(sizes) <= connection_bert.TOKENS_AT_ONCE_ON_CPU and sum(sizes) == total


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("CUDA")]
)
def test_memory_that_is_used_up_is_one_sentence(error: Exception) -> None:
    with (
        pytest.raises(UserMistake, match=r"too little memory on cpu: make BATCH_SIZE \(16\) or MAX_TOKENS \(128\) smaller"),
        memory_errors_named(torch.device("cpu"), BATCH_SIZE=16, MAX_TOKENS=128),
    ):
        raise error
    with pytest.raises(RuntimeError, match="another"), memory_errors_named(torch.device("cpu"), BATCH_SIZE=16):
        raise RuntimeError("another")
