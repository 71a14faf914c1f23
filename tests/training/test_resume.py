"""The golden rule: wherever a run stops, started again it ends with the bytes of one that nobody disturbed."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import runs
import safetensors.torch
import torch

import bertFineTuningWithConnectionData as script
import connection.disk.checkpoints
import connection.training.evaluation
import connection.training.losses.cosine
import connection.training.resume
from connection import UserMistake
from connection.disk.checkpoints import Checkpoints
from connection.disk.safetensors_file import safetensors_chunks
from connection.training.losses.cosine import cosine_loss
from connection.training.optimizer import make_optimizer, optimizer_tensors, restore_optimizer
from ConnectionBert import ConnectionBert

STEPS = 16  # 60 pairs, 8 a step, 2 epochs
Train = Callable[..., Path]
Result = Callable[[Path], dict[str, object]]


def trainer(folder: Path, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Train:
    """Runs the script on tiny files, evaluating and saving in mid-epoch; returns OUTPUT, in `folder`. Dropout is 0.1."""

    def run(output: str = "run", **changes: object) -> Path:
        flags = {f"{name}_file": path for name, path in pairs_files.items()}
        flags |= {"encoder": tiny_encoder, "output": folder / output, "epochs": 2, "batch_size": 8, "device": "cpu"}
        flags |= {"learning_rate": 3e-3, "evaluations_per_epoch": 3, "checkpoints_per_epoch": 2, "keep_checkpoints": True}
        flags |= changes
        runs.run_script(script, **flags)
        return folder / output

    return run


@pytest.fixture
def train(tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Train:
    return trainer(tmp_path, tiny_encoder, pairs_files)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Path:
    """OUTPUT of a run that nothing disturbed, which is only read."""
    return trainer(tmp_path_factory.mktemp("whole"), tiny_encoder, pairs_files)()


@pytest.fixture(scope="module")
def all_snapshots(
    tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, pairs_files: dict[str, Path]
) -> tuple[Path, list[str]]:
    """A folder, and the names in it of OUTPUT of a run as it lay after each checkpoint, one a step, and last of the whole."""
    folder = tmp_path_factory.mktemp("snapshots")
    write = Checkpoints.write
    taken = []

    def write_and_copy(self: Checkpoints, step: int, *arguments: object) -> None:
        write(self, step, *arguments)
        taken.append(f"after-{step}")
        shutil.copytree(self.folder.parent, folder / taken[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "write", write_and_copy)
        taken.append(trainer(folder, tiny_encoder, pairs_files)(checkpoints_per_epoch=1000).name)
    return folder, taken


@pytest.fixture
def snapshots(all_snapshots: tuple[Path, list[str]], tmp_path: Path) -> list[Path]:
    """The test's own copies of them."""
    folder, names = all_snapshots
    return [Path(shutil.copytree(folder / name, tmp_path / name)) for name in names]


def test_going_on_from_every_step_ends_at_the_same_bytes(
    snapshots: list[Path], train: Train, capsys, result: Result, assert_same: Callable
) -> None:
    *stopped, whole = snapshots
    golden = result(whole)
    assert len(stopped) == STEPS and golden["summary.json"]["best_step"] not in (0, STEPS)
    assert any("best.safetensors" in name for name in golden)
    for step, output in enumerate(stopped, start=1):
        capsys.readouterr()
        train(output.name, checkpoints_per_epoch=1000)
        assert f"Resuming after step {step}, from {output}" in capsys.readouterr().out
        assert_same(output, golden)


def test_a_run_without_a_checkpoint_begins_again_in_its_place(
    whole: Path, train: Train, tmp_path: Path, capsys, result: Result, assert_same: Callable
) -> None:
    golden = result(whole)
    output = train("other")
    (output / "summary.json").unlink()
    shutil.rmtree(output / "checkpoints")
    with (output / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 17, "los')
    train("other")
    assert "has no checkpoint yet; it starts again" in capsys.readouterr().out
    assert_same(output, golden)
    assert not (tmp_path / "other-1").exists()


@pytest.mark.parametrize("changes", [{"patience": 2}, {"patience": 1}, {"evaluations_per_epoch": 1}])
def test_a_run_that_lost_its_result_finds_it_again(train: Train, changes: dict, result: Result, assert_same: Callable) -> None:
    """Killed after the training, or stopped by PATIENCE: nothing is left to train, or all of it."""
    golden = result(train(**changes))
    output = train("other", **changes)
    for name in ("summary.json", "predictions-dev.csv"):
        (output / name).unlink()
    shutil.rmtree(output / "best")
    train("other", **changes)
    assert_same(output, golden)


def test_metrics_ahead_of_the_checkpoint_are_cut_back(
    snapshots: list[Path], train: Train, result: Result, assert_same: Callable
) -> None:
    *stopped, whole = snapshots
    output = stopped[4]
    shutil.copy(stopped[9] / "metrics.jsonl", output / "metrics.jsonl")
    with (output / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 11, "epo')  # and half a line
    train(output.name, checkpoints_per_epoch=1000)
    assert_same(output, result(whole))


def test_lost_lines_of_metrics_are_told(snapshots: list[Path], train: Train, capsys) -> None:
    output = snapshots[4]
    (output / "metrics.jsonl").unlink()
    train(output.name, checkpoints_per_epoch=1000)
    assert f"{output / 'metrics.jsonl'} has 0 of the 5 steps so far" in capsys.readouterr().out


def test_a_kill_between_the_two_renames_of_best_is_mended(
    snapshots: list[Path], train: Train, result: Result, assert_same: Callable
) -> None:
    *stopped, whole = snapshots
    for output in (stopped[7], stopped[8]):
        (output / "best").rename(output / ".best.old")
        shutil.copytree(output / ".best.old", output / ".best.new")
    (stopped[8] / ".best.new" / "config.json").unlink()
    (stopped[8] / ".summary.json.tmp").write_text("{", encoding="utf-8")
    for output in (stopped[7], stopped[8]):
        train(output.name, checkpoints_per_epoch=1000)
        assert_same(output, result(whole))


def test_best_is_what_the_checkpoint_says_even_where_the_folder_is_ahead_or_damaged(
    snapshots: list[Path], train: Train, result: Result, assert_same: Callable
) -> None:
    *stopped, whole = snapshots
    output = stopped[10]
    (output / "best" / "model.safetensors").write_bytes(b"damaged")
    train(output.name, checkpoints_per_epoch=1000)
    assert_same(output, result(whole))


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flip":
        place = len(data) // 3
        data[place] ^= 1
    elif how == "missing":
        path.unlink()
        return
    else:
        del data[{"empty": 0, "cut": len(data) // 2, "short": len(data) - 1}[how] :]
    path.write_bytes(data)


NAMES = ["before.safetensors", "model.safetensors", "optimizer.safetensors", "state.json", "best.safetensors", "MANIFEST.json"]


def test_a_broken_checkpoint_is_passed_over_and_the_end_is_the_same(
    snapshots: list[Path], train: Train, capsys, result: Result, assert_same: Callable
) -> None:
    *stopped, whole = snapshots
    golden = result(whole)
    for output, name, how in zip(stopped[11:], NAMES, ["flip", "cut", "short", "missing", "empty"], strict=False):
        checkpoint = max((output / "checkpoints").iterdir())
        damage(checkpoint / name, how)
        capsys.readouterr()
        train(output.name, checkpoints_per_epoch=1000)
        told = capsys.readouterr().out
        assert f"Skipped a damaged checkpoint: {checkpoint}: {name}" in told and "Resuming after step" in told
        assert_same(output, golden)


def test_every_damage_to_every_file_is_noticed(snapshots: list[Path]) -> None:
    """20 flipped bits in each file, five ways to cut it short, and a missing one."""
    output = snapshots[12]
    manifest = json.loads(next((output / "checkpoints").glob("*13/MANIFEST.json")).read_text(encoding="utf-8"))
    checkpoints = Checkpoints(output / "checkpoints", manifest["run"])
    assert checkpoints.problem(13) is None
    random = torch.Generator().manual_seed(0)
    for name in NAMES:
        path = checkpoints.of_step(13) / name
        whole = path.read_bytes()
        places = torch.randint(0, len(whole), (20,), generator=random).tolist()
        damaged = [whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :] for place in places]
        damaged += [whole[:size] for size in (0, 1, 8, len(whole) // 2, len(whole) - 1)] + [whole + b" "]
        for data in damaged:
            path.write_bytes(data)
            assert checkpoints.problem(13) is not None, name
        path.unlink()
        assert checkpoints.problem(13) is not None, name
        path.write_bytes(whole)
    assert checkpoints.problem(13) is None
    assert Checkpoints(output / "checkpoints", manifest["run"] | {"data": "0" * 64}).problem(13) is not None


def test_where_no_checkpoint_is_whole_nothing_begins_again_unasked(snapshots: list[Path], train: Train, tmp_path: Path) -> None:
    output = snapshots[10]
    for checkpoint in (output / "checkpoints").iterdir():
        damage(checkpoint / "model.safetensors", "flip")
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    with pytest.raises(
        UserMistake, match=r"none of its checkpoints is valid:\n.*step-00000011: model\.safetensors does not match"
    ) as told:
        train(output.name, checkpoints_per_epoch=1000)
    assert "step-00000010" in str(told.value) and "START_OVER = True" in str(told.value)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


def test_folders_that_are_none_of_ours_are_neither_followed_nor_deleted(
    snapshots: list[Path], train: Train, tmp_path: Path, result: Result
) -> None:
    *stopped, whole = snapshots
    output, outside = stopped[4], tmp_path / "outside"
    shutil.copytree(stopped[9] / "checkpoints" / "step-00000010", outside)
    folder = output / "checkpoints"
    (folder / "step-1e3").mkdir()
    (folder / "step-0000000012").mkdir()  # a second name of step 12
    (folder / "step-99999999").mkdir()
    (folder / "step-00000010").symlink_to(outside)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    train(output.name, checkpoints_per_epoch=1000)
    foreign = {"checkpoints/step-1e3", "checkpoints/step-0000000012", "checkpoints/step-99999999", "checkpoints/notes.txt"}
    found = result(output)
    assert foreign <= found.keys()
    golden = result(whole)
    assert {name: x for name, x in found.items() if name not in foreign} == golden
    assert sorted(path.name for path in outside.iterdir()) == sorted(set(NAMES) & {x.name for x in outside.iterdir()})


def test_a_linked_folder_of_checkpoints_is_refused(snapshots: list[Path], train: Train, tmp_path: Path) -> None:
    output = snapshots[4]
    (output / "checkpoints").rename(tmp_path / "elsewhere")
    (output / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserMistake, match="checkpoints is a link"):
        train(output.name, checkpoints_per_epoch=1000)


def test_clocks_and_file_times_decide_nothing(
    snapshots: list[Path], train: Train, monkeypatch: pytest.MonkeyPatch, result: Result, assert_same: Callable
) -> None:
    *stopped, whole = snapshots
    output = stopped[6]
    for number, path in enumerate(sorted((output / "checkpoints").rglob("*"), reverse=True)):
        os.utime(path, (10**9 + number, 10**9 + number))  # the older, the newer
    clock = iter([2 * 10**9, 10**9] * 10_000)  # set back and forth by years
    monkeypatch.setattr(time, "time", lambda: next(clock))
    train(output.name, checkpoints_per_epoch=1000)
    assert_same(output, result(whole))


def test_a_changed_machine_is_told_and_goes_on(
    snapshots: list[Path], train: Train, monkeypatch: pytest.MonkeyPatch, capsys, result: Result
) -> None:
    *stopped, whole = snapshots
    monkeypatch.setattr(connection.training.resume, "describe_device", lambda device: "CPU, another with 96 cores, 96 threads")
    train(stopped[4].name, checkpoints_per_epoch=1000)
    told = capsys.readouterr().out
    assert "Changed since then: device CPU, " in told and "→ CPU, another with 96 cores, 96 threads. The run continues" in told
    assert result(stopped[4])["best/model.safetensors"] == result(whole)["best/model.safetensors"]


def test_a_loss_that_is_not_finite_loses_nothing(
    whole: Path, train: Train, monkeypatch: pytest.MonkeyPatch, result: Result, assert_same: Callable
) -> None:
    golden = result(whole)
    losses = []

    def poisoned(embeddings: Sequence[torch.Tensor], scores: torch.Tensor) -> torch.Tensor:
        loss = cosine_loss(embeddings, scores)
        losses.append(loss.requires_grad)
        return loss * math.nan if loss.requires_grad and sum(losses) == 11 else loss

    with monkeypatch.context() as patch:
        patch.setattr(connection.training.losses.cosine, "cosine_loss", poisoned)
        with pytest.raises(UserMistake, match="Step 11: the loss is nan"):
            train("other")
    assert_same(train("other"), golden)


def test_the_last_two_checkpoints_are_kept(whole: Path) -> None:
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["step-00000012", "step-00000016"]


def test_a_checkpoint_that_reads_back_differently_retires_none(
    snapshots: list[Path], train: Train, monkeypatch: pytest.MonkeyPatch, result: Result, assert_same: Callable
) -> None:
    *stopped, whole = snapshots
    output = stopped[4]
    before = sorted(path.name for path in (output / "checkpoints").iterdir())

    write_file = connection.disk.durable.write_file

    def forgetful(path: Path, chunks: object) -> object:
        written = write_file(path, chunks)
        if path.name == "optimizer.safetensors":
            damage(path, "flip")
        return written

    with monkeypatch.context() as patch:
        patch.setattr(connection.disk.durable, "write_file", forgetful)
        with pytest.raises(UserMistake, match=r"step-00000006 reads back differently .*\(optimizer.safetensors"):
            train(output.name, checkpoints_per_epoch=1000)
    assert sorted(path.name for path in (output / "checkpoints").iterdir()) == [*before, "step-00000006"]
    train(output.name, checkpoints_per_epoch=1000)
    assert_same(output, result(whole))


def test_an_optimizer_restored_by_name_goes_on_as_the_first(tiny_encoder: Path) -> None:
    """Names decide, not places: the two encoders list their weights in other orders."""
    first, second = (ConnectionBert.load(tiny_encoder) for _ in range(2))
    optimizers = [make_optimizer(encoder, weight_decay=0.1) for encoder in (first, second)]

    def named(encoder: ConnectionBert) -> dict[str, torch.Tensor]:
        return dict(encoder.named_parameters())

    assert optimizer_tensors(optimizers[0], named(first)) == {}

    def step(encoder: ConnectionBert, optimizer: torch.optim.Optimizer, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for weight in encoder.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        optimizer.step()

    step(first, optimizers[0], 0)
    step(first, optimizers[0], 1)
    second.load_state_dict(first.state_dict())
    saved = dict(reversed(optimizer_tensors(optimizers[0], named(first)).items()))
    restore_optimizer(optimizers[1], named(second), saved)
    for encoder, optimizer in zip((first, second), optimizers, strict=True):
        step(encoder, optimizer, 2)
    assert all(torch.equal(x, y) for x, y in zip(first.parameters(), second.parameters(), strict=True))
    again = optimizer_tensors(optimizers[1], named(second))
    assert all(torch.equal(x, again[name]) for name, x in optimizer_tensors(optimizers[0], named(first)).items())
    for broken in ({"ghost/step": torch.zeros(())}, {next(iter(saved)): torch.zeros(3, 3)}):
        with pytest.raises(ValueError, match=r"no weight for|wrong shape"):
            restore_optimizer(optimizers[1], named(second), saved | broken)


def test_weights_are_written_as_safetensors_writes_them(bert_factory: Callable) -> None:
    weights = dict(bert_factory().named_parameters()) | {"é/step": torch.tensor(3.0), "turned": torch.randn(3, 4).t()}
    weights["exact"] = torch.randn(5, dtype=torch.float64)
    ours = b"".join(bytes(chunk) for chunk in safetensors_chunks(weights))
    theirs = safetensors.torch.save({name: x.detach().contiguous() for name, x in weights.items()}, {"format": "pt"})
    assert ours == theirs
    with pytest.raises(TypeError, match="float16"):
        list(safetensors_chunks({"x": torch.zeros(2, dtype=torch.float16)}))


def test_a_start_that_goes_on_keeps_the_figures_of_the_machine_on_which_it_began(
    snapshots: list[Path], train: Train, monkeypatch: pytest.MonkeyPatch, assert_same: Callable, result: Result
) -> None:
    *stopped, whole = snapshots
    golden, real, calls = result(whole), connection.training.evaluation.evaluate, []

    def elsewhere(encoder: ConnectionBert, *arguments: object, **named: object) -> object:
        evaluation = real(encoder, *arguments, **named)
        calls.append(evaluation)
        return evaluation

    monkeypatch.setattr(connection.training.evaluation, "evaluate", elsewhere)
    train(stopped[4].name, checkpoints_per_epoch=1000)
    assert_same(stopped[4], golden)
    evaluations = sum(1 for line in (whole / "metrics.jsonl").read_text(encoding="utf-8").splitlines() if "split" in line)
    assert len(calls) < evaluations + 2  # neither dev nor test was evaluated before the first step again


def test_a_checkpoint_of_the_version_before_has_none_and_they_are_computed(
    snapshots: list[Path], train: Train, result: Result
) -> None:
    *stopped, whole = snapshots
    golden = result(whole)
    for folder in (stopped[4] / "checkpoints").iterdir():
        (folder / "before.safetensors").unlink()
        manifest = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))
        del manifest["files"]["before.safetensors"]
        (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    train(stopped[4].name, checkpoints_per_epoch=1000)
    found = result(stopped[4])
    assert found["summary.json"] == golden["summary.json"] and found["predictions-test.csv"] == golden["predictions-test.csv"]
