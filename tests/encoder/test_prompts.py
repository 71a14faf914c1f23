"""Prompts and the other settings of a folder: applied where it says so, set by constants, kept through training and saving."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs

import bertFineTuningWithConnectionData as script
import bertScoringWithConnectionData as scoring
from connection import UserMistake
from connection.encoder.folder import inspect_encoder
from connection.encoder.preview import UnknownPairs
from connection.encoder.prompts import pair_prompts, with_pair_prompts
from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset

SENTENCES = ["a cat is sleeping.", "The red DOG?", "two", ""]
ASK, ANSWER = "the man: ", "a dog? "
NAMED = {"query": ASK, "passage": ANSWER}


def with_settings(encoder: Path, folder: Path, **settings: object) -> Path:
    """A sentence encoder's folder with these settings."""
    ConnectionBert.load(encoder, max_tokens=40).save(folder)
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | settings), encoding="utf-8")
    return folder


def oracle(folder: Path) -> Any:
    theirs = pytest.importorskip("sentence_transformers", reason="sentence-transformers, the oracle, is not installed")
    return theirs.SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def test_the_folders_default_is_applied_and_another_text_can_be_asked_for(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = with_settings(tiny_encoder, tmp_path / "e5", prompts=NAMED, default_prompt_name="query")
    encoder, theirs = ConnectionBert.load(folder), oracle(folder)
    default, passage, none = (encoder.encode(SENTENCES, prompt=prompt) for prompt in (None, ANSWER, ""))
    np.testing.assert_allclose(default, theirs.encode(SENTENCES), atol=1e-5)
    np.testing.assert_allclose(passage, theirs.encode(SENTENCES, prompt_name="passage"), atol=1e-5)
    np.testing.assert_allclose(none, theirs.encode(SENTENCES, prompt=""), atol=1e-5)
    assert np.abs(default - none).max() > 0.01 and np.abs(passage - none).max() > 0.01


def test_settings_of_a_folder_are_kept(tiny_encoder: Path, tmp_path: Path) -> None:
    settings = {"prompts": NAMED, "similarity_fn_name": "dot", "truncate_dim": 12, "of_another_version": [1, {"a": None}]}
    folder = with_settings(tiny_encoder, tmp_path / "first", **settings)
    ConnectionBert.load(folder).save(tmp_path / "second")
    kept = json.loads((tmp_path / "second" / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    assert {name: kept[name] for name in settings} == settings and kept["default_prompt_name"] is None
    ours, theirs = ConnectionBert.load(tmp_path / "second").encode(SENTENCES), oracle(tmp_path / "second")
    assert ours.shape == (4, 12) and theirs.similarity_fn_name == "dot"
    np.testing.assert_allclose(ours, theirs.encode(SENTENCES), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": ["query: "]}, '"prompts" is not a table of names and texts'),
        ({"prompts": {"query": 3}}, '"prompts" is not a table'),
        ({"default_prompt_name": "query"}, "'query', which is not among its prompts"),
        ({"default_prompt_name": {"a": 1}}, "{'a': 1}, which is not among its prompts"),
        ({"truncate_dim": 0}, '"truncate_dim" is 0; a whole number from 1 is expected'),
    ],
)
def test_settings_that_make_no_sense_are_named(
    tiny_encoder: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    folder = with_settings(tiny_encoder, tmp_path / "odd", **settings)
    with pytest.raises(UserMistake, match=message):
        inspect_encoder(folder)


def test_a_pooling_without_the_prompt_is_refused_where_there_is_one(tiny_encoder: Path, tmp_path: Path) -> None:
    """Instructor models."""
    folder = with_settings(tiny_encoder, tmp_path / "instructor", prompts=NAMED)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"include_prompt": False}), encoding="utf-8")
    ConnectionBert.load(folder).save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "1_Pooling" / "config.json").read_text())["include_prompt"] is False
    with pytest.raises(UserMistake, match="its pooling leaves the tokens of a prompt out"):
        inspect_encoder(tmp_path / "again", prompts=("query", ""))


def test_a_name_that_the_folder_does_not_have_is_no_text() -> None:
    with pytest.raises(
        UserMistake, match='SENTENCE2_PROMPT: the encoder has no prompt named "qeury"; its prompts: "query", "passage"'
    ):
        pair_prompts({"prompts": NAMED}, ("query", "qeury"))


@pytest.mark.parametrize("texts", [("", ""), (ASK, ASK), (ASK, ANSWER), ("", ANSWER), ("new: ", "new: ")])
@pytest.mark.parametrize("default", [None, "query"])
def test_what_is_saved_gives_the_prompts_of_the_training_again(texts: tuple[str, str], default: str | None) -> None:
    settings = {"prompts": NAMED, "default_prompt_name": default, "similarity_fn_name": "cosine"}
    saved = with_pair_prompts(settings, texts)
    assert pair_prompts(saved, ("", "")) == texts
    assert saved["prompts"].items() >= NAMED.items() and saved["similarity_fn_name"] == "cosine"
    if texts[0] == texts[1]:  # other programs apply it by themselves
        assert (saved["prompts"].get(saved["default_prompt_name"]) or "") == texts[0]
    other = with_pair_prompts(saved, ("x: ", "x: "))
    assert pair_prompts(other, ("", "")) == ("x: ", "x: ") and "sentence1" not in other["prompts"]


def test_a_sentence_that_is_unknown_is_so_behind_a_prompt_too(tiny_encoder: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder, prompts=(ASK, ""))
    first, second = [f"{ASK}ж ж", f"{ASK}cat"], ["cat", "犬"]
    dataset = ConnectionDataset(first, second, [0.5, 0.5], encoder.tokenize)
    unknown = UnknownPairs.of(encoder, dataset, [2, 3])
    assert unknown.count == 2 and unknown.first == [(2, "ж ж"), (3, "犬")]


def test_a_run_trains_with_prompts_and_scoring_takes_them_from_best(
    tiny_encoder: Path, pairs_files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = with_settings(tiny_encoder, tmp_path / "e5", prompts=NAMED)
    flags = {"encoder": encoder, "output": tmp_path / "run", "epochs": 1, "device": "cpu", "learning_rate": 1e-3}
    run = [*runs.file_flags(pairs_files), *runs.flags(**flags)]
    assert script.main([*run, "--sentence1-prompt=query", f"--sentence2-prompt={ANSWER}"]) == 0
    printed = capsys.readouterr().out
    assert f'Prompts: before every sentence1 the prompt "{ASK}", before every sentence2 the prompt "{ANSWER}".' in printed
    predictions = read_column(tmp_path / "run" / "predictions-test.csv", "predicted_after")
    score = {"encoder": tmp_path / "run" / "best", "pairs_file": pairs_files["test"], "output_file": tmp_path / "scores.csv"}
    runs.run_script(scoring, **score, device="cpu")
    assert f'before every sentence2 the prompt "{ANSWER}"' in capsys.readouterr().out
    np.testing.assert_allclose(read_column(tmp_path / "scores.csv", "similarity"), predictions, atol=1e-4)
    runs.run_script(scoring, **score, device="cpu", sentence1_prompt="none", sentence2_prompt="none")
    assert np.abs(read_column(tmp_path / "scores.csv", "similarity") - predictions).max() > 1e-2
    # The same texts by other values are the same run; other texts are another.
    capsys.readouterr()
    assert script.main([*run, f"--sentence1-prompt={ASK}", "--sentence2-prompt=passage"]) == 0
    printed = capsys.readouterr().out
    assert "This run is complete" in printed
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(UserMistake, match="SENTENCE1_PROMPT was"):
        script.main([*run, "--sentence1-prompt=passage", "--sentence2-prompt=passage"])
    card = (tmp_path / "run" / "best" / "README.md").read_text(encoding="utf-8")
    assert ASK.strip() in card and 'prompt_name="sentence1"' in card


def read_column(path: Path, column: str) -> np.ndarray:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return np.array([float(row[column]) for row in csv.DictReader(file)])


def test_a_folder_of_an_older_version_without_prompts_is_as_it_was(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "plain"))
    assert inspect_encoder(folder).pair_prompts == ("", "") and inspect_encoder(folder).settings == {}
