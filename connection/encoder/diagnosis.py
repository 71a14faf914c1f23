"""What a folder that cannot be loaded as an encoder is, and the one step that helps."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from connection import UserMistake
from connection.disk.json_file import parse_json
from connection.encoder import alternatives

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
VOCABULARIES = (("vocab.txt",), ("tokenizer.json",), ("vocab.json", "merges.txt"))  # one of these groups of files
ENCODERS = Path(__file__).resolve().parents[2] / "transformers" / "bert"

# Weights in other formats: names → what they are, and the step. The first that fits counts.
_TRANSFORMERS = "in Python, AutoModel.from_pretrained(…, {}).save_pretrained(…) with a version 4 of transformers writes them"
_OTHER_WEIGHTS = {
    "*.index.json": "its weights are in several files: in Python, AutoModel.from_pretrained(…).save_pretrained(…, "
    'max_shard_size="50GB") writes one',
    "*.ckpt.index": "its weights are a TensorFlow checkpoint: "
    "in Python, BertModel.from_pretrained(…, from_tf=True).save_pretrained(…) with a version 4 of transformers writes them",
    "*.ckpt*": "its weights are a checkpoint of TensorFlow or Lightning: convert them to pytorch_model.bin",
    "*.h5": f"its weights are TensorFlow's: {_TRANSFORMERS.format('from_tf=True')}",
    "*.msgpack": f"its weights are Flax's: {_TRANSFORMERS.format('from_flax=True')}",
    "*.onnx": "its weights are an ONNX model, which cannot be trained: download model.safetensors from the model's page, too",
    "*.gguf": "its weights are a GGUF file, which cannot be trained: download model.safetensors from the original model's page",
    "*.ot": "its weights are for Rust: download model.safetensors from the model's page, too",
    "openvino_model*": "its weights are OpenVINO's, which cannot be trained: download model.safetensors from the model's page",
}
_UNFINISHED = (".part", ".crdownload", ".download", ".incomplete", ".aria2", ".tmp", ".partial", ".opdownload")

# First bytes → what a file is. Longer beginnings first.
_LFS = "a pointer of Git LFS, not the file itself: run `git lfs pull` in its folder, or download the file from the model's page"
_WEB_PAGE = "a web page, not the file itself: on the model's page, use the download button of the file"
_STARTS: dict[bytes, str] = {
    b"version https://git-lfs": _LFS,
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, TensorFlow's weights under another name: download model.safetensors instead",
    b"GGUF": "a GGUF file under another name: download model.safetensors of the original model instead",
    b"\x1f\x8b": "compressed (gzip): unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
}


def missing_files(bert: Path) -> list[str]:
    """The files of an encoder that a folder lacks; alternatives are joined by "or"."""
    missing = [] if (bert / "config.json").is_file() else ["config.json"]
    if not any(all((bert / name).is_file() for name in names) for names in VOCABULARIES):
        missing.append("vocab.txt or tokenizer.json")
    if not any((bert / name).is_file() for name in WEIGHT_FILES):
        missing.append(" or ".join(WEIGHT_FILES))
    return missing


def refuse_incomplete(folder: Path, bert: Path, *, without_weights: bool = False) -> None:
    """Raise UserMistake if the folder lacks a file of an encoder, or holds an adapter, and say what it is instead.

    bert: the folder of transformers' files, `folder` or a sub-folder. without_weights: the weights may be missing.
    """
    _refuse_adapter(folder, bert)
    missing = [names for names in missing_files(bert) if not (without_weights and WEIGHT_FILES[0] in names)]
    if not missing:
        return
    if not folder.exists():
        raise UserMistake(f"ENCODER: {folder} does not exist; an encoder needs {', '.join(missing)}. {_where_to_get(folder)}")
    if folder.is_file():
        raise UserMistake(f"ENCODER is the file {folder}; give the folder that holds config.json, vocab.txt and the weights.")
    if not bert.is_dir():
        raise UserMistake(f"ENCODER: {folder / 'modules.json'} names the folder {bert}, which is not there. Download it again.")
    inside = _encoder_inside(folder)
    if inside:
        raise UserMistake(f"ENCODER: {folder} is {inside[0]}; its encoder is {inside[1]}.")
    steps = [step for names in missing for step in _steps(bert, names)]
    hint = " ".join(f"{step[0].upper()}{step[1:]}." for step in steps)
    hint = hint or (f"Encoders that work: {alternatives.listed()}." if without_weights else _where_to_get(folder))
    raise UserMistake(f"ENCODER: {bert} lacks {', '.join(missing)}. {hint}")


def refuse_other_content(path: Path) -> None:
    """Raise UserMistake if a file of an encoder is something else under its name, such as a web page. Reads its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return  # missing or not readable: whoever reads it says so
    what = next((what for beginning, what in _STARTS.items() if start.startswith(beginning)), None)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        what = _WEB_PAGE
    if text.startswith((b'{"error', b"entry not found", b"repository not found", b"access to model", b"invalid username")):
        what = "an error message of the server, not the file itself: download it again from the model's page"
    if path.name in WEIGHT_FILES:
        what = what or _other_format(path, start)
    if what:
        raise UserMistake(f"{path} is {what}.")


def _other_format(path: Path, start: bytes) -> str | None:
    """The other one of the two formats of weights, by the first bytes."""
    is_header = start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 30
    is_pickle = start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04")
    if path.suffix == ".bin" and is_header and not is_pickle:
        return "a safetensors file: rename it to model.safetensors"
    if path.suffix == ".safetensors" and is_pickle:
        return "a file of PyTorch: rename it to pytorch_model.bin"
    return None


def _refuse_adapter(folder: Path, bert: Path) -> None:
    path = next((path / "adapter_config.json" for path in (folder, bert) if (path / "adapter_config.json").is_file()), None)
    if path is None:
        return
    config = parse_json(path)
    kind, base = (config.get(name) if isinstance(config, dict) else None for name in ("peft_type", "base_model_name_or_path"))
    raise UserMistake(
        f"ENCODER: {path.parent} holds an adapter{f' ({kind})' if kind else ''}{f' of {base}' if base else ''}, not an "
        "encoder: merge it into its encoder first, in Python with peft's merge_and_unload() and save_pretrained(…)."
    )


def _encoder_inside(folder: Path) -> tuple[str, Path | str] | None:
    """What a folder is that holds an encoder further inside, and where."""
    if (folder / "summary.json").is_file() and (folder / "best").is_dir():
        return "the folder of a run", folder / "best"
    snapshots = folder / "snapshots" if (folder / "snapshots").is_dir() else folder if folder.name == "snapshots" else None
    if snapshots:
        commits = [path.name for path in sorted(snapshots.iterdir(), key=lambda path: path.stat().st_mtime) if path.is_dir()]
        main = snapshots.parent / "refs" / "main"
        commit = main.read_text(encoding="utf-8").strip() if main.is_file() else ""
        if not commits:
            return None
        return "a folder of the hub's cache", snapshots / (commit if commit in commits else commits[-1])
    if (folder / "hub").is_dir() and any((folder / "hub").glob("models--*")):
        folder = folder / "hub"
    cached = [path for path in sorted(folder.glob("models--*")) if (path / "snapshots").is_dir()]
    if cached:
        paths = [str(inside[1]) for path in cached if (inside := _encoder_inside(path))]
        shown = ", ".join(paths[:5])
        return "the hub's cache", shown if len(paths) == 1 else f"one of {shown}{' …' if len(paths) > 5 else ''}"
    names = _encoders_in(folder)
    if len(names) == 1:
        return "a folder around an encoder", folder / names[0]
    return ("a folder of encoders", f"one of {', '.join(names)}") if names else None


def _encoders_in(folder: Path) -> list[str]:
    """The names of the encoders in a folder, those of an organisation as klue/bert-base; at most 10."""
    found: list[str] = []
    for path in _folders(folder):
        if _is_complete(path):
            found.append(path.name)
        else:
            found += [f"{path.name}/{inner.name}" for inner in _folders(path) if _is_complete(inner)]
    return found[:10]


def _is_complete(folder: Path) -> bool:
    return (folder / "modules.json").is_file() or not missing_files(folder)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _where_to_get(folder: Path) -> str:
    """For a folder that is not there or holds nothing: the encoders that are there, and how to get one."""
    others = list(dict.fromkeys([*_encoders_in(ENCODERS), *_encoders_in(folder.parent)]))
    there = f"Encoders that are there: {', '.join(others)}. " if others else ""
    parts = folder.as_posix().rpartition("/transformers/bert/")[2] if "/transformers/bert/" in folder.as_posix() else ""
    name = parts or (folder.name if folder.parent.exists() else f"{folder.parent.name}/{folder.name}")
    on_the_hub = "" if name == alternatives.ENGLISH else ", if that is its name on the hub"
    return (
        f"{there}To download it: {alternatives.download(name)}{on_the_hub}; others are {alternatives.listed()}. Or put its "
        "files there by hand."
    )


def _steps(bert: Path, names: str) -> Iterable[str]:
    """What is there in the place of missing files, and what to do with it. names: one of `missing_files`."""
    files = [path for path in sorted(bert.iterdir()) if path.is_file()]
    wanted = names.split(" or ")
    near = _near_name(files, wanted)
    if near:
        yield f'there is "{near[0]}": rename it to {near[1]}'
        return
    unfinished = [path.name for path in files if path.name.lower().endswith(_UNFINISHED)]
    if unfinished:
        yield f'"{unfinished[0]}" is an unfinished download: download it again'
    elif WEIGHT_FILES[0] in names:
        inner = [*files, *(path for folder in _folders(bert) for path in sorted(folder.iterdir()) if path.is_file())]
        other = other_weights([path.relative_to(bert) for path in inner])
        if other:
            yield other
    elif "vocab.txt" in wanted:
        model = next((path.name for path in files if path.suffix in (".model", ".spm")), None)
        if model:
            yield f'its vocabulary is the SentencePiece model "{model}": download tokenizer.json from the model\'s page, too'
        elif (bert / "vocab.json").is_file():
            yield "beside vocab.json there must be merges.txt: download it, or tokenizer.json, from the model's page"


def other_weights(files: Iterable[PurePath]) -> str | None:
    """What weights in another format are among the files of a folder, and what to do; None if there are none."""
    files = list(files)
    for pattern, what in _OTHER_WEIGHTS.items():
        found = next((path for path in files if path.match(pattern)), None)
        if found is not None:
            return f"{what} ({found.as_posix()})"
    return None


def _near_name(files: Sequence[Path], wanted: Sequence[str]) -> tuple[str, str] | None:
    """A file whose name is nearly a wanted one: as a browser or another program changed it, or mistyped.

    >>> [_near_name([Path(name)], [wanted])[1] for name, wanted in (
    ...     ("vocab (1).txt", "vocab.txt"), ("bert-base-uncased-vocab.txt", "vocab.txt"), ("bert_config.json", "config.json"),
    ...     ("config.json.txt", "config.json"), ("pytorch-model.bin", "pytorch_model.bin"))]
    ['vocab.txt', 'vocab.txt', 'config.json', 'config.json', 'pytorch_model.bin']
    """
    for name in wanted:
        stem, _, ending = name.rpartition(".")
        changed = re.compile(
            rf"(.+[-_.])?{re.escape(stem)}([ _-]?\(?\d+\)?| - .+|_?copy)?\.{ending}(\.txt|\.json)?", re.IGNORECASE
        )
        for path in files:
            same_ending = path.name.lower().endswith(f".{ending}")
            is_near = same_ending and difflib.SequenceMatcher(None, path.name.lower(), name).ratio() > 0.85
            is_other = path.name in (
                "tokenizer_config.json",
                "special_tokens_map.json",
                "adapter_config.json",
                "generation_config.json",
            )
            if path.name not in WEIGHT_FILES and not is_other and (changed.fullmatch(path.name) or is_near):
                if re.fullmatch(r"sentence_.*_config\.json|config_.*\.json", path.name) or path.name in (
                    "config.json",
                    "vocab.txt",
                ):
                    continue
                return path.name, name
    return None
