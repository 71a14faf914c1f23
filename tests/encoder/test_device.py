"""The device: what THREADS and PRECISION do to torch, and what a process has used of the memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import ConnectionBert as connection_bert
from connection import UserMistake
from connection.encoder.device import memory_errors_named, move_checked, peak_memory_bytes, prepare_device
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
        pytest.raises(UserMistake, match=r"Out of memory on cpu: reduce BATCH_SIZE \(16\) or MAX_TOKENS \(128\)"),
        memory_errors_named(torch.device("cpu"), BATCH_SIZE=16, MAX_TOKENS=128),
    ):
        raise error
    with pytest.raises(RuntimeError, match="another"), memory_errors_named(torch.device("cpu"), BATCH_SIZE=16):
        raise RuntimeError("another")


class Elsewhere:
    """An encoder that can be moved to a device which this machine does not have, where its vectors are `wrong` by so much."""

    def __init__(self, encoder: ConnectionBert, wrong: float):
        self.encoder, self.wrong, self.moved = encoder, wrong, False
        self.bert, self.max_tokens = encoder.bert, encoder.max_tokens

    def to(self, device: torch.device) -> Elsewhere:
        self.moved = True
        return self

    def encode_tokens(self, sentences: list[np.ndarray]) -> np.ndarray:
        assert sorted({len(tokens) for tokens in sentences}) == [3, 7, 12, 25, 41, 60] and len(sentences) == 8
        vectors = self.encoder.encode_tokens(sentences)
        if self.moved:
            vectors[4] += self.wrong * np.linalg.norm(vectors[4])
        return vectors


def test_a_device_that_computes_wrongly_is_refused(tiny_encoder: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    assert move_checked(Elsewhere(encoder, 1e-6), torch.device("mps")).moved
    for wrong in (0.05, np.nan):
        with pytest.raises(UserMistake, match=r"DEVICE: MPS.* gives other vectors than the CPU .* Set DEVICE = \"cpu\""):
            move_checked(Elsewhere(encoder, wrong), torch.device("mps"))
    assert move_checked(Elsewhere(encoder, 1.0), torch.device("cpu")).moved  # nothing to compare with


def test_attention_of_transformers_layers_is_given_contiguous_parts(
    tiny_encoder: Path, sentence_factory: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not contiguous is computed wrongly by torch 2.11 on MPS (pytorch issue 181133)."""
    encoder, seen = ConnectionBert.load(tiny_encoder), []
    real = torch.nn.functional.scaled_dot_product_attention

    def attention(*parts: torch.Tensor, **named: object) -> torch.Tensor:
        seen.extend(part.is_contiguous() for part in parts)
        return real(*parts, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    encoder.by_hand = False
    encoder.encode(sentence_factory(9))
    assert len(seen) >= 6 and all(seen)


@pytest.mark.parametrize("script", ["bertFineTuningWithConnectionData", "bertScoringWithConnectionData"])
def test_memory_that_is_used_up_while_loading_is_one_sentence(
    script: str, tiny_encoder: Path, pairs_files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual case: a card that another program fills."""

    def full(self: ConnectionBert, device: torch.device) -> ConnectionBert:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(ConnectionBert, "to", full)
    main, flags = importlib.import_module(script).main, [f"--encoder={tiny_encoder}", "--batch-size=8"]
    if script == "bertScoringWithConnectionData":
        runs = [
            [f"--pairs-file={pairs_files['dev']}", f"--output-file={tmp_path / 'x.csv'}"],
            ["--sentence1=a", "--sentence2=b"],
        ]
    else:
        files = [f"--{name}-file={path}" for name, path in pairs_files.items()]
        runs = [[*files, f"--output={tmp_path / 'run'}"]]
    for more in runs:
        with pytest.raises(UserMistake, match=r"Out of memory on cpu: reduce BATCH_SIZE \(8\)"):
            main([*flags, *more])
    assert not (tmp_path / "run").exists() and not (tmp_path / "x.csv").exists()
