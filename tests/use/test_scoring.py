"""The scoring script: similarities as training gave them, in order, in bounded memory; metrics; a sentence a bad input."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs
from runs import write_rows

import bertScoringWithConnectionData as script
from connection import UserMistake
from connection.reading.layout import Layout
from connection.reading.rows import PairRows
from connection.training.calibration import Calibration
from connection.use import encoder as use_encoder
from connection.use import scoring
from connection.use.scoring import PairScorer
from connection.use.survey import survey
from ConnectionBert import ConnectionBert

Score = Callable[..., list[dict[str, str]]]


@pytest.fixture
def run_folder(finished_run: Path) -> Path:
    return finished_run


@pytest.fixture
def score(tmp_path: Path, run_folder: Path, pairs_files: dict[str, Path]) -> Score:
    """Run the script with flags given as keywords; returns the rows it wrote."""

    def run(**changes: object) -> list[dict[str, str]]:
        flags = {
            "encoder": run_folder / "best",
            "pairs_file": pairs_files["test"],
            "output_file": tmp_path / "out" / "scores.csv",
            "device": "cpu",
        } | changes
        runs.run_script(script, **flags)
        with Path(flags["output_file"]).open(encoding="utf-8-sig", newline="") as file:
            separator = "\t" if "\t" in file.readline() else ","
            file.seek(0)
            return list(csv.DictReader(file, delimiter=separator))

    return run


def test_it_writes_the_input_columns_in_order_and_what_training_found(score: Score, run_folder: Path, capsys) -> None:
    rows, predicted = score(), pd.read_csv(run_folder / "predictions-test.csv")
    assert list(rows[0]) == ["sentence1", "sentence2", "score", "similarity", "score_predicted"]
    assert [row["sentence1"] for row in rows] == predicted["sentence1"].tolist()
    similarities = np.array([float(row["similarity"]) for row in rows])
    assert np.allclose(similarities, predicted["predicted_after"], atol=1e-6)
    expected = Calibration.load(run_folder / "best")(similarities)
    assert np.allclose([float(row["score_predicted"]) for row in rows], expected, atol=1e-6)
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))["after"]["test"]
    told = capsys.readouterr().out
    low, high = summary["interval"]
    assert f"Spearman {summary['spearman']:.4f} [{low:.2f}, {high:.2f}], Pearson {summary['pearson']:.4f}" in told
    error = np.abs(expected - predicted["score"]).mean()
    assert f"Mean error of score_predicted: {error:.3f} (scale 0 to 5)" in told


def test_chunks_and_what_is_kept_change_nothing(score: Score, tmp_path: Path, pairs_files: dict, monkeypatch) -> None:
    rows = list(csv.reader(pairs_files["test"].open(encoding="utf-8", newline="")))
    order = np.random.default_rng(0).integers(1, len(rows), 150)
    path = write_rows(tmp_path / "many.csv", [rows[0], *(rows[i] for i in order)])
    whole = [float(row["similarity"]) for row in score(pairs_file=path)]
    for chunk, kept in ((1, 2**30), (7, 2**30), (7, 0), (64, 4 * 32 * 3)):
        monkeypatch.setattr(scoring, "CHUNK", chunk)
        monkeypatch.setattr(scoring, "CACHE_BYTES", kept)
        assert np.allclose([float(row["similarity"]) for row in score(pairs_file=path, batch_size=3)], whole, atol=1e-6)


def test_a_sentence_that_recurs_is_encoded_once_and_let_go_after_its_last_place(run_folder: Path, tmp_path: Path) -> None:
    pairs = [["a cat", "a dog"], ["a cat", "a man"], ["a bird", "a dog"], ["a dog", "a cat"], ["a child", "a man"]]
    path = write_rows(tmp_path / "pairs.csv", [["sentence1", "sentence2"], *pairs])
    layout = Layout(score=None)
    found = survey(PairRows(path, layout), has_scores=False)
    assert found.pairs == 5 and sorted(found.uses) == [2, 3, 3] and found.scores is None
    scorer = PairScorer(ConnectionBert.load(run_folder / "best"), found, batch_size=64)
    kept = []
    for row in PairRows(path, layout):
        scorer([row])
        kept.append(set(scorer.cache))
    assert scorer.encoded == 5  # of ten places
    assert kept == [{"a cat", "a dog"}, {"a cat", "a dog", "a man"}, {"a cat", "a dog", "a man"}, {"a man"}, set()]


def test_without_scores_there_are_similarities_only(score: Score, tmp_path: Path, capsys) -> None:
    path = write_rows(tmp_path / "pairs.csv", [["id", "sentence1", "sentence2"], [7, "a cat", "a dog"], [8, "=a cat", "a cat"]])
    rows = score(pairs_file=path)
    assert [row["id"] for row in rows] == ["7", "8"] and rows[1]["sentence1"] == "'=a cat"  # guarded, as every cell we write
    told = capsys.readouterr().out
    assert f'{path} has no column "score" (SCORE_COLUMN): similarities only, no metrics.' in told and "Spearman" not in told
    plain = write_rows(tmp_path / "plain.csv", [["a cat", "a dog"]])
    score(pairs_file=plain, sentence1_column=1, sentence2_column=2, score_column="")
    assert "SCORE_COLUMN" not in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["tsv", "jsonl", "parquet"])
def test_every_format_that_training_reads(score: Score, tmp_path: Path, pairs_files: dict[str, Path], ending: str) -> None:
    table = pd.read_csv(pairs_files["test"])
    table.insert(0, "id", range(len(table)))
    path = tmp_path / f"pairs.{ending}"
    if ending == "tsv":
        table.to_csv(path, sep="\t", index=False)
    elif ending == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        table.to_parquet(path)
    rows, plain = score(pairs_file=path), score()
    assert [int(row["id"]) for row in rows] == table["id"].tolist()
    for name in ("sentence1", "sentence2", "similarity", "score_predicted"):
        assert [row[name] for row in rows] == [row[name] for row in plain]


def test_labels_that_are_not_public_can_be_left_out(score: Score, tmp_path: Path) -> None:
    path = tmp_path / "glue.csv"
    path.write_text("sentence1,sentence2,score\nA,B,-1\nC,D,-1\n", encoding="utf-8")
    with pytest.raises(UserMistake) as told:
        score(pairs_file=path)
    assert str(told.value).endswith(
        "every score is -1, which marks labels that are not public (as in GLUE's test sets).\nPaste: --score-column="
    )


def test_what_is_written_opens_in_the_spreadsheet_of_the_pairs(score: Score, tmp_path: Path, run_folder: Path, capsys) -> None:
    """A German Excel's CSV, and a workbook; the scores are yes/no, but SCORE_RANGE is left at 0 to 5."""
    openpyxl = pytest.importorskip("openpyxl")
    names = ["sentence1", "sentence2", "score"]
    rows = [["Ein Mann läuft über die Brücke.", "Er geht; schnell.", 0.5], ["=1+1", "Zwei Straßen für grüne Züge", 1]]
    rows += [["Süße Äpfel", "Obst aus den Gärten", 0], ["Die Tür geht schön auf.", "Sie hört müde zu.", 1]]
    path, book = tmp_path / "tickets.csv", openpyxl.Workbook()
    lines = ["Tickets im März;;", ";".join(names), *(f'{a};"{b}";{str(c).replace(".", ",")}' for a, b, c in rows), ";;"]
    path.write_text("\r\n".join(lines) + "\r\n", encoding="cp1252")
    for row in [["Tickets"], names, *rows]:
        book.active.append(row)
    book.active["A4"].data_type = "s"  # no formula
    book.save(tmp_path / "tickets.xlsx")
    score(pairs_file=path)
    told = capsys.readouterr().out
    assert "Read as cp1252, separated by ';', decimal comma, columns on line 2, 1 empty row skipped.\n" in told
    assert (
        "Warning: the scores are 0 to 1, a small part of SCORE_RANGE (0 to 5). " in told and "Paste: --score-range 0 1" in told
    )
    written = (tmp_path / "out" / "scores.csv").read_bytes()
    assert written.startswith(b"\xef\xbb\xbfsentence1;sentence2;score;similarity;score_predicted\r\n")
    cells = [line.split(";")[-3:] for line in written.decode().splitlines()[1:]]
    assert all("," in similarity and "." not in similarity for _, similarity, _ in cells)
    assert [cell[0] for cell in cells] == ["0,5", "1", "0", "1"] and b"'=1+1" in written
    score(pairs_file=tmp_path / "tickets.xlsx")
    output = tmp_path / "out" / "scores.xlsx"
    sheets = []
    for source in (path, tmp_path / "tickets.xlsx"):
        runs.run_script(script, encoder=run_folder / "best", pairs_file=source, output_file=output, device="cpu")
        sheets.append(list(openpyxl.load_workbook(output).active.iter_rows(values_only=True)))
    assert sheets[0] == sheets[1] and list(sheets[0][0][:4]) == [*names, "similarity"]
    assert [list(row[:3]) for row in sheets[0][1:]] == rows
    expected = [float(similarity.replace(",", ".")) for _, similarity, _ in cells]
    assert [row[3] for row in sheets[0][1:]] == pytest.approx(expected, abs=1e-6)
    assert "existed and is now" in capsys.readouterr().out


def test_labels_get_threshold_precision_recall_f1_and_average_precision(
    score: Score, tmp_path: Path, capsys, pairs_files
) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn, which comes with the oracle, is not installed")
    table = pd.read_csv(pairs_files["test"])
    table["score"] = (table["score"] > 2).astype(int)
    table.to_csv(tmp_path / "labels.csv", index=False)
    rows = score(pairs_file=tmp_path / "labels.csv", score_range=(0, 1))
    told = capsys.readouterr().out
    similarities = np.array([float(row["similarity"]) for row in rows])
    found = re.search(r"Average precision (\S+)\.\nBest threshold (\S+): precision (\S+), recall (\S+), F1 (\S+);", told)
    ap, threshold, *others = map(float, found.groups())
    assert ap == pytest.approx(metrics.average_precision_score(table["score"], similarities), abs=1e-4)
    predicted = similarities >= threshold
    scores = [f(table["score"], predicted) for f in (metrics.precision_score, metrics.recall_score, metrics.f1_score)]
    assert others == pytest.approx(scores, abs=1e-4)
    assert "1 is a match, 0 is none" in told


def test_two_scores_that_are_not_the_ends_of_the_scale_are_no_labels(score: Score, tmp_path: Path, capsys, pairs_files) -> None:
    table = pd.read_csv(pairs_files["test"])
    table["score"] = (table["score"] > 2).astype(int) + 1
    table.to_csv(tmp_path / "grades.csv", index=False)
    score(pairs_file=tmp_path / "grades.csv")
    told = capsys.readouterr().out
    assert "Spearman" in told and "is a match" not in told and "threshold" not in told


def test_a_plain_encoder_has_no_calibration(score: Score, tiny_encoder: Path, capsys) -> None:
    assert list(score(encoder=tiny_encoder)[0]) == ["sentence1", "sentence2", "score", "similarity"]
    assert "has no calibration" in capsys.readouterr().out


def test_one_pair_is_printed(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sentences = ["a cat is sleeping", "the dog is red"]
    flags = [f"--sentence{side}={sentence}" for side, sentence in enumerate(sentences, start=1)]
    assert script.main([f"--encoder={run_folder / 'best'}", *flags]) == 0
    first, second = ConnectionBert.load(run_folder / "best").encode(sentences)
    similarity = first @ second / np.sqrt((first @ first) * (second @ second))
    predicted = Calibration.load(run_folder / "best")(np.array([similarity]))[0]
    assert f"similarity {similarity:.4f}, score_predicted {predicted:.2f} (from 0 to 5)\n" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_there_is_set_aside(score: Score, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "out" / "scores.csv"
    output.parent.mkdir()
    output.write_text("mine", encoding="utf-8")
    for name in ("scores-1.csv", "scores-2.csv"):
        assert score() and f"is now {output.parent / name}" in capsys.readouterr().out
    assert (output.parent / "scores-1.csv").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in output.parent.iterdir()) == ["scores-1.csv", "scores-2.csv", "scores.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("broken"), OSError(28, "No space left on device")])
def test_the_output_appears_whole_or_not_at_all(score: Score, tmp_path: Path, monkeypatch, error) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 16)
    real, calls = PairScorer.embed, []

    def fail_at_the_second(self: PairScorer, rows: list) -> np.ndarray:
        calls.append(len(rows))
        if len(calls) == 2:
            raise error
        return real(self, rows)

    monkeypatch.setattr(PairScorer, "embed", fail_at_the_second)
    with pytest.raises((KeyboardInterrupt, RuntimeError, UserMistake)):
        score()
    assert calls == [16, 16] and not list((tmp_path / "out").iterdir())


def test_a_file_that_changes_meanwhile_is_told(score: Score, tmp_path: Path, monkeypatch) -> None:
    path = write_rows(tmp_path / "pairs.csv", [["sentence1", "sentence2"], ["a cat", "a dog"]])
    load = use_encoder.load_encoder

    def change(settings, loader):
        write_rows(path, [["sentence1", "sentence2"], ["a cat", "a dog"], ["a man", "a bird"]])
        return load(settings, loader)

    monkeypatch.setattr(use_encoder, "load_encoder", change)
    with pytest.raises(UserMistake, match="has changed while it was read"):
        score(pairs_file=path)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "nowhere"}, "ENCODER: there is no folder .*nowhere. Train one first"),
        ({"encoder": "{run}"}, r"run is the folder of a run; its encoder is .*best\.$"),
        ({"encoder": "{tmp}"}, "lacks config.json"),
        ({"pairs_file": "none.csv"}, "There is no file .*none.csv"),
        ({"sentence1_column": "question"}, r'no column "question" \(SENTENCE1_COLUMN\)'),
        ({"pairs_file": "{empty}"}, r'empty.csv:3  column "sentence2": "  " is empty: write the sentence'),
        ({"score_column": "sentence1"}, "SENTENCE1_COLUMN and SCORE_COLUMN name the same column"),
        ({"sentence1_column": 1, "sentence2_column": 2}, 'SCORE_COLUMN is the name "score": give its number, or ""'),
        ({"output_file": "{pairs}"}, "OUTPUT_FILE and PAIRS_FILE are the same file"),
        ({"output_file": "{folder}"}, "OUTPUT_FILE: .*folder.csv is a folder"),
        ({"output_file": "{pairs}/scores.csv"}, "OUTPUT_FILE: .*pairs.csv is a file, not a folder"),
        ({"output_file": "scores.txt"}, 'must end in ".csv"'),
        ({"sentence1": "a cat"}, "SENTENCE2 is empty: a single pair needs both"),
        ({"device": "cuda:7"}, "DEVICE"),
        ({"epochs": 3}, 'There is no flag "--epochs'),
        ({"pooling": "cls"}, 'There is no flag "--pooling'),
    ],
)
def test_bad_input_is_one_sentence_before_weights_are_loaded(
    score: Score, tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, message: str
) -> None:
    places = {"run": run_folder, "tmp": tmp_path, "pairs": tmp_path / "pairs.csv", "empty": tmp_path / "empty.csv"}
    write_rows(places["pairs"], [["sentence1", "sentence2", "score"], ["a cat", "a dog", 1], ["a man", "a bird", 2]])
    write_rows(places["empty"], [["sentence1", "sentence2", "score"], ["a cat", "a dog", 1], ["a man", "  ", 2]])
    (tmp_path / "folder.csv").mkdir()
    places["folder"] = tmp_path / "folder.csv"
    monkeypatch.setattr(ConnectionBert, "load", lambda *a, **k: pytest.fail("weights were loaded"))
    before = sorted(tmp_path.rglob("*"))
    given = {"pairs_file": places["pairs"]} | changes
    with pytest.raises(UserMistake, match=message):
        score(**{name: str(value).format(**places) for name, value in given.items()})
    assert sorted(tmp_path.rglob("*")) == before


def test_vectors_that_are_not_finite_are_told(score: Score, run_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ConnectionBert, "encode_tokens", lambda self, ids, *_: np.full((len(ids), 32), np.nan, np.float32))
    with pytest.raises(UserMistake, match="vectors that are not finite, first for the pair on line 2"):
        score()
    assert not list((tmp_path / "out").iterdir())


def test_tokens_are_told_as_by_training(score: Score, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    """Chunk by chunk, each distinct sentence once, before the metrics; pairs with nothing but [UNK] by their line."""
    sides = [("the cat", "a dog"), ("ж", "the cat"), ("the cat", "ю ж"), ("a dog", "ж"), ("not " * 80, "ж"), ("red", "blue")]
    rows = [(*pair, row % 3) for row, pair in enumerate(sides * 2)]
    path = write_rows(tmp_path / "pairs.csv", [["sentence1", "sentence2", "score"], *rows])
    told = []
    for chunk in (4096, 1, 5):
        monkeypatch.setattr(scoring, "CHUNK", chunk)
        score(pairs_file=path)
        told.append(re.search(r"Tokens a sentence: .*(?=\nSpearman)", capsys.readouterr().out, re.DOTALL)[0])
    assert told[0] == told[1] == told[2]
    lines = told[0].splitlines()
    assert "the longest 82; 1 of 7 sentences are cut (MAX_TOKENS 64)." in lines[0]
    assert lines[1].startswith("Warning: in 8 of 12 pairs, a sentence is nothing but [UNK]: ")
    named = zip([3, 4, 5, 6, 9], ["ж", "ю ж", "ж", "ж", "ж"], strict=True)
    assert lines[2:] == [*(f"  {path}:{line}  {sentence}" for line, sentence in named), "  … and 3 more"]


def test_a_single_pair_that_says_nothing_is_warned_of(run_folder: Path, capsys: pytest.CaptureFixture) -> None:
    flags = [f"--encoder={run_folder / 'best'}", "--sentence1=ж", "--device=cpu"]
    assert script.main([*flags, "--sentence2=a cat"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-2].startswith("Warning: in this pair, a sentence is nothing but [UNK]: ") and told[-1] == "  ж"
    assert script.main([*flags[::2], "--sentence1=a dog", "--sentence2=a cat"]) == 0
    assert "Warning" not in capsys.readouterr().out


@pytest.mark.parametrize("sentences", [("", ""), ("a cat", ""), (" ", "a cat")])
def test_a_flag_for_a_sentence_counts_whatever_its_text(run_folder: Path, tmp_path: Path, sentences: tuple[str, str]) -> None:
    """--sentence1 "$A" --sentence2 "$B" with both empty is no wish to score PAIRS_FILE."""
    first, second = sentences
    flags = [f"--encoder={run_folder / 'best'}", f"--output-file={tmp_path / 'x.csv'}"]
    with pytest.raises(UserMistake, match=r"SENTENCE[12] is empty: a single pair needs both"):
        script.main([*flags, f"--sentence1={first}", f"--sentence2={second}"])
    assert not (tmp_path / "x.csv").exists()


def test_equal_sentences_have_similarity_1(score: Score, tmp_path: Path, pairs_files: dict[str, Path]) -> None:
    table = pd.read_csv(pairs_files["test"])
    table["sentence2"] = table["sentence1"]
    table.to_csv(tmp_path / "twins.csv", index=False)
    assert {row["similarity"] for row in score(pairs_file=tmp_path / "twins.csv")} == {"1"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pairs-file=bad.csv"], "has rows that cannot be used"),
        (["--pairs-file=cp1252.csv"], "ENCODING"),
        (["--pairs-file=none.csv"], "There is no file"),
        (["--sentence1=a cat"], "SENTENCE2 is empty"),
        (["--pairs-file=good.csv", "--sentence1-column=x"], 'no column "x"'),
    ],
)
def test_a_mistake_is_answered_before_torch_is_loaded(
    tiny_encoder: Path, tmp_path: Path, flags: list[str], message: str
) -> None:
    (tmp_path / "good.csv").write_text("sentence1,sentence2\na,b\n", encoding="utf-8")
    (tmp_path / "bad.csv").write_text("sentence1,sentence2\na,\n", encoding="utf-8")
    (tmp_path / "cp1252.csv").write_bytes("sentence1,sentence2\nKätzchen,b\n".encode("cp1252"))
    code = "import sys; sys.path.insert(0, sys.argv[1]); import bertScoringWithConnectionData as s\n"
    code += "try: s.main(sys.argv[2:])\nexcept ValueError as mistake: print(mistake)\nprint('torch' in sys.modules)"
    root = str(Path(script.__file__).parent)
    command = [sys.executable, "-c", code, root, f"--encoder={tiny_encoder}", f"--output-file={tmp_path / 'x.csv'}", *flags]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert message in run.stdout and run.stdout.endswith("False\n"), run.stdout + run.stderr
