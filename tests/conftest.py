"""Fixtures: files for the tiny encoder of tests/runs.py, a finished run, a browser, and where the real ones lie, if they do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import runs
import torch
from transformers import BertModel

import bertFineTuningWithConnectionData as script

ROOT = Path(__file__).resolve().parent.parent
collect_ignore = ["fault_driver.py", "mutation_list.py", "mutations.py", "warm.py"]  # scripts, which tests or people run

BROWSER_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --window-size=1400,900""".split()

torch.set_num_threads(1)  # two threads that wait for a busy core make a tiny model 200 times slower
os.environ["OMP_NUM_THREADS"] = "1"  # in what tests start, too


@pytest.fixture(scope="session")
def pairs_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """train.csv, dev.csv and test.csv with 60, 40 and 40 pairs for the tiny encoder."""
    folder = tmp_path_factory.mktemp("pairs")
    counts = {"train": 60, "dev": 40, "test": 40}
    return {name: runs.write_pairs(folder / f"{name}.csv", count, seed) for seed, (name, count) in enumerate(counts.items())}


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny plain BERT."""
    return runs.write_encoder(tmp_path_factory.mktemp("encoders") / "tiny", runs.make_bert())


@pytest.fixture(scope="session")
def stsb() -> Path:
    """The folder of the STS benchmark: the variable STSB, or data/stsb/."""
    folder = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")
    if not (folder / "train.csv").is_file():
        pytest.skip("the STS benchmark is not here: set STSB to its folder (data/README.md)")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the embedded encoder."""
    folder = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("the embedded encoder is not here: python downloadBert.py all-MiniLM-L6-v2")
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Path:
    """OUTPUT of a finished run of 2 epochs, 8 pairs a step. It is only read: a test that changes it copies it."""
    output = tmp_path_factory.mktemp("finished") / "run"
    runs.run_script(script, *runs.file_flags(pairs_files), encoder=tiny_encoder, output=output, **runs.FINISHED)
    return output


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not program or not driver:
        pytest.skip("there is no chromium with its chromedriver here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in [*BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


# The functions of tests/runs.py, for tests that ask for them as fixtures; it can be imported as well.


@pytest.fixture(scope="session")
def bert_factory() -> Callable[..., BertModel]:
    return runs.make_bert


@pytest.fixture(scope="session")
def encoder_writer() -> Callable[..., Path]:
    return runs.write_encoder


@pytest.fixture(scope="session")
def sentence_factory() -> Callable[..., list[str]]:
    return runs.make_sentences


@pytest.fixture(scope="session")
def pairs_writer() -> Callable[..., Path]:
    return runs.write_pairs


@pytest.fixture(scope="session")
def result() -> Callable[[Path], dict[str, object]]:
    return runs.run_result


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Path, dict[str, object]], None]:
    return runs.assert_same
