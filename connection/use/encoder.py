"""Finds and loads the encoder that a script puts to use, from its constants."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from connection import UserMistake
from connection.encoder.folder import EncoderFolder, inspect_encoder
from connection.script.settings import Settings

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert


def check_encoder(settings: Settings) -> EncoderFolder:
    """The folder of ENCODER, for pairs. Raises UserMistake if it holds no encoder."""
    return inspect_used(settings.ENCODER, (settings.SENTENCE1_PROMPT, settings.SENTENCE2_PROMPT))


def inspect_used(folder: Path, prompts: tuple[str, str] = ("", "")) -> EncoderFolder:
    """The folder of ENCODER. Raises UserMistake if it holds no encoder; for the folder of a run, the message names best/."""
    if not folder.exists():
        raise UserMistake(
            f"ENCODER: there is no folder {folder}. Train one first (python bertFineTuningWithConnectionData.py), or name "
            "the folder of an encoder."
        )
    if (folder / "settings.json").is_file() and not (folder / "config.json").is_file():
        best = folder / "best"
        hint = f"its encoder is {best}" if best.is_dir() else "it holds no encoder yet"
        raise UserMistake(f"ENCODER: {folder} is the folder of a run; {hint}.")
    return inspect_encoder(folder, prompts=prompts)


def load_encoder(settings: Settings, load: Callable[..., ConnectionBert]) -> ConnectionBert:
    """The encoder, on its device. load: `ConnectionBert.load`."""
    prompts = (settings.SENTENCE1_PROMPT, settings.SENTENCE2_PROMPT)
    encoder = place_encoder(settings, partial(load, prompts=prompts))
    if any(encoder.pair_prompts):
        from connection.encoder.prompts import prompts_text

        print(prompts_text(encoder.pair_prompts))
    return encoder


def place_encoder(settings: Settings, load: Callable[[Path], ConnectionBert]) -> ConnectionBert:
    """An encoder, on its device; it is told by a line."""
    from connection.encoder.device import memory_errors_named, move_checked, prepare_device  # they load torch
    from connection.encoder.preview import encoder_text

    device = prepare_device(settings.DEVICE, settings.PRECISION, settings.THREADS)
    with memory_errors_named(device, BATCH_SIZE=settings.BATCH_SIZE):
        encoder = move_checked(load(settings.ENCODER), device)
    print(f"Encoder: {settings.ENCODER} ({encoder_text(encoder)})")
    return encoder
