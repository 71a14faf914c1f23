"""Mining of hard negatives: equal to brute force, in the order of the rules, from a file to one that training takes."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import runs
from runs import write_rows

import bertFineTuningWithConnectionData as training_script
import bertMiningWithConnectionData as script
from connection import UserMistake
from connection.reading.rows import PairRow
from connection.use import mining, nearest
from connection.use.mined import training_text
from connection.use.mining import Miner, Rules, Sentences, read_sentences
from connection.use.nearest import unit
from ConnectionBert import ConnectionBert

Mine = Callable[..., list[dict[str, str]]]
PAIRS = 40


def pair_rows(*pairs: tuple[str, str]) -> list[PairRow]:
    return [PairRow(line, [], *pair, 0) for line, pair in enumerate(pairs, 2)]


def random_sentences(seed: int, rows: int = 30, extra: int = 20) -> tuple[Sentences, np.ndarray]:
    """Pairs of few sentences, with a corpus; embeddings of low rank with many exactly equal ones, so that there are ties."""
    random = np.random.default_rng(seed)
    pairs = pair_rows(*((f"q{random.integers(12)}", f"a{random.integers(15)}") for _ in range(rows)))
    sentences = read_sentences(pairs, [f"c{number}" for number in range(extra)] + ["q3", "A1"])
    vectors = random.normal(size=(25, 6)) + 1.5 * random.normal(size=6)
    return sentences, vectors[random.integers(25, size=len(sentences.texts))].astype(np.float32)


def by_hand(embeddings: np.ndarray, sentences: Sentences, rules: Rules) -> list[list[int]]:
    """The negatives of each row by sorting every candidate, as the comments of the constants say it."""
    found = []
    known = {tuple(pair) for pair in sentences.known.tolist()}
    vectors = unit(embeddings)
    for query, own_text in zip(sentences.query.tolist(), sentences.own.tolist(), strict=True):
        first, own = vectors[sentences.first[query]], vectors[own_text]
        candidates = vectors[sentences.candidates]
        near, alike = np.round(candidates @ first, 9), np.round(candidates @ own, 9)
        similarity = round(float(first @ own), 9)
        order = sorted((-near[c], c) for c in range(len(candidates)) if (query, c) not in known)
        ranked = [c for _, c in order][rules.ranks[0] - 1 : rules.ranks[1]]
        chosen = [
            c
            for c in ranked
            if (rules.margin is None or near[c] <= similarity - rules.margin)
            and (rules.relative_margin is None or near[c] <= similarity - abs(similarity) * rules.relative_margin)
            and (rules.most_alike is None or alike[c] <= rules.most_alike)
        ][: rules.negatives]
        found.append(chosen + [-1] * (rules.negatives - len(chosen)))
    return found


@pytest.mark.parametrize(
    "rules",
    [
        Rules(1, (1, 100)),
        Rules(3, (1, 5)),
        Rules(2, (4, 9)),
        Rules(3, (1, 30), margin=0.05),
        Rules(3, (2, 30), relative_margin=0.3),
        Rules(3, (1, 30), most_alike=0.5),
        Rules(4, (3, 12), margin=-0.2, relative_margin=0.01, most_alike=0.8),
    ],
)
@pytest.mark.parametrize("numbers", [4_000_000, 40])  # of a block: all at once; many blocks of queries, vectors and rows
def test_it_finds_what_sorting_everything_finds(rules: Rules, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mining, nearest):
        monkeypatch.setattr(module, "MOST_NUMBERS", numbers)
    monkeypatch.setattr(nearest, "VECTORS_AT_ONCE", min(7, numbers))
    for seed in range(4):
        sentences, embeddings = random_sentences(seed)
        mined = Miner(embeddings, sentences, rules).mine()
        assert mined.negatives.tolist() == by_hand(embeddings, sentences, rules)
        vectors = unit(embeddings)
        own = (vectors[sentences.first[sentences.query]] * vectors[sentences.own]).sum(axis=1)
        assert np.allclose(mined.own, own, atol=1e-9)
        assert (np.isnan(mined.similarities) == (mined.negatives < 0)).all()


def test_of_equally_near_ones_the_first_in_the_file_is_first_in_every_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.ones((50, 3)) + np.zeros((50, 3))
    vectors[20] = [1.0, 0.9, 1.0]
    vectors = unit(vectors).astype(np.float32)
    skipped = np.array([[0, 0], [0, 3]])
    for size in (1, 3, 50):
        blocks = [vectors[start : start + size] for start in range(0, 50, size)]
        numbers, _ = nearest.nearest(unit(np.ones((1, 3))).astype(np.float32), blocks, skipped, most=5)
        assert numbers.tolist() == [[1, 2, 4, 5, 6]]


def test_a_limit_counts_what_it_leaves_out() -> None:
    sentences = read_sentences(pair_rows(("q", "a")), ["b", "c", "d"])
    embeddings = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6], [0.7, 0.714], [0, 1]], dtype=np.float32)  # q, a, b, c, d
    mined = Miner(embeddings, sentences, Rules(3, (1, 10), margin=0.05, most_alike=0.9)).mine()
    assert mined.negatives.tolist() == [[3, -1, -1]] and mined.ranked == 3
    assert mined.left_out == {"MARGIN": 1, "MOST_ALIKE": 2}  # b by both, c by the guard
    none = Miner(embeddings, sentences, Rules(3, (1, 10), margin=1.5)).mine()
    assert none.negatives.tolist() == [[-1, -1, -1]] and np.isnan(none.similarities).all()


def test_what_a_row_pairs_in_either_order_is_never_a_negative() -> None:
    sentences = read_sentences(pair_rows(("q", "a"), ("b", "Q "), ("q", "A  C"), ("r", "e")), ["Ａ c", "R", "new"])
    known = {(sentences.texts[sentences.first[query]], sentences.candidate(number)) for query, number in sentences.known}
    assert known == {("q", "a"), ("q", "A  C"), ("q", "Q "), ("b", "Q "), ("r", "e"), ("r", "R")}  # "b" is no candidate
    embeddings = np.ones((len(sentences.texts), 2), dtype=np.float32)
    mined = Miner(embeddings, sentences, Rules(4, (1, 9))).mine()
    for row, (first, second) in enumerate((("q", "a"), ("b", "Q "), ("q", "A  C"), ("r", "e"))):
        found = [sentences.candidate(number) for number in mined.negatives[row].tolist() if number >= 0]
        assert second not in found and not {(first, text) for text in found} & known
    sentences = read_sentences(pair_rows(("q", "a"), ("c", "q"), ("d", "c")), [])
    known = {(sentences.texts[sentences.first[query]], sentences.candidate(number)) for query, number in sentences.known}
    assert ("q", "c") in known and ("d", "q") not in known


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs that belong together, with a column of ids."""
    source = runs.write_shapes(tmp_path_factory.mktemp("pairs") / "shapes.csv", PAIRS)
    with source.open(encoding="utf-8", newline="") as file:
        rows = [[f"{number:03}", row["sentence1"], row["sentence2"]] for number, row in enumerate(csv.DictReader(file))]
    return write_rows(source.with_name("pairs.csv"), [["id", "question", "answer"], *rows])


@pytest.fixture
def mine(tmp_path: Path, tiny_encoder: Path, pairs_file: Path) -> Mine:
    """Run the script with flags given as keywords; returns the rows it wrote, none of a workbook."""

    def run(**changes: object) -> list[dict[str, str]]:
        values = {
            "encoder": tiny_encoder,
            "pairs_file": pairs_file,
            "output_file": tmp_path / "out" / "negatives.csv",
            "relative_margin": "",
            "most_alike": "",
            "device": "cpu",
        } | changes
        runs.run_script(script, **values)
        if str(values["output_file"]).endswith("xlsx"):
            return []
        with Path(values["output_file"]).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t" if str(values["output_file"]).endswith("tsv") else ","))

    return run


def test_from_a_file_to_a_file_that_training_takes(
    mine: Mine, tiny_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = mine(negatives=2)
    assert list(rows[0]) == "id question answer similarity negative1 similarity1 negative2 similarity2".split()
    assert [row["id"] for row in rows] == [f"{number:03}" for number in range(PAIRS)]
    encoder = ConnectionBert.load(tiny_encoder)
    answers = list(dict.fromkeys(row["answer"] for row in rows))
    questions, candidates = (unit(encoder.encode(texts)) for texts in ([row["question"] for row in rows], answers))
    for row, similarities in zip(rows, questions @ candidates.T, strict=True):
        order = [answers[number] for number in np.argsort(-similarities, kind="stable") if answers[number] != row["answer"]]
        assert [row["negative1"], row["negative2"]] == order[:2]
        assert float(row["similarity1"]) == pytest.approx(similarities[answers.index(order[0])], abs=1e-6)
        assert float(row["similarity"]) == pytest.approx(similarities[answers.index(row["answer"])], abs=1e-6)
    told = capsys.readouterr().out
    assert f"To encode: {PAIRS + len(answers)} sentences, about " in told  # no question is an answer
    assert f"To compare: {PAIRS} sentence1 × {len(answers)} candidates = {PAIRS * len(answers)}, about " in told
    assert f"Rows with 2 negatives: {PAIRS}; fewer: 0; none: 0." in told
    assert len(re.findall(r"^  -?\d\.\d{3} -?\d\.\d{3}  .+  \|  .+  \|  ", told, re.MULTILINE)) == 10
    command = told[told.index("  python bertFineTuning") :].split("\n")[0]
    flags = shlex.split(command)[2:]
    assert flags[-3:] == ["--negative-columns", "negative1", "negative2"]
    runs.run_script(
        training_script, *flags, encoder=tiny_encoder, output=tmp_path / "run", epochs=1, batch_size=8, device="cpu"
    )
    assert f"Its negatives: {2 * len(rows)} sentences, up to 2 a row." in capsys.readouterr().out


def test_a_corpus_a_workbook_and_a_second_run(mine: Mine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
    corpus = write_rows(tmp_path / "all.csv", [["text"], ["a cat is a cat."], ["never a dog"], ["Never  a DOG"]])
    changes = {"corpus_file": corpus, "corpus_column": "text", "ranks": (1, 1)}
    rows = mine(**changes)
    assert "3 sentences from" in capsys.readouterr().out
    assert any(row["negative1"] in ("a cat is a cat.", "never a dog") for row in rows)
    assert all(row["negative1"] != "Never  a DOG" for row in rows)  # as "never a dog"
    output = tmp_path / "out" / "negatives.xlsx"
    mine(**changes, output_file=output)
    sheet = openpyxl.load_workbook(output).active
    table = list(sheet.values)
    assert [row[4] for row in table[1:]] == [row["negative1"] for row in rows] and isinstance(table[1][3], float)
    assert mine(**changes, output_file=tmp_path / "out" / "negatives.tsv") == rows
    assert mine(**changes) == rows and "existed and is now" in capsys.readouterr().out
    assert (tmp_path / "out" / "negatives-1.csv").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "nowhere"}, r"ENCODER: there is no folder .*nowhere"),
        ({"pairs_file": "none.csv"}, r"none\.csv"),
        ({"sentence1_column": "sentence1"}, r'has no column "sentence1" \(SENTENCE1_COLUMN\)'),
        ({"corpus_file": "{corpus}"}, r'corpus\.csv has no column "sentence" \(CORPUS_COLUMN\)'),
        ({"corpus_file": "{bad}", "corpus_column": "text"}, r"bad\.csv:3  .*\n1 bad row of 2\."),
        ({"output_file": "{pairs}"}, r"OUTPUT_FILE and PAIRS_FILE are the same file"),
        ({"output_file": "{corpus}", "corpus_file": "{corpus}"}, r"OUTPUT_FILE and CORPUS_FILE are the same file"),
        ({"negatives": 3, "ranks": (5, 6)}, r"NEGATIVES is 3, but RANKS \(5, 6\) are only 2 ranks"),
        ({"negatives": 20}, r"NEGATIVES is 20 and RANKS begins at 1, but a row has at most 19 candidates that"),
        ({"ranks": (20, 100)}, r"NEGATIVES is 1 and RANKS begins at 20, but a row has at most 19 candidates that"),
        ({"ranks": (3, 2)}, r"--ranks is \(3, 2\); it must be two whole numbers from 1 to 10,000, the lower one first"),
        ({"margin": "much"}, r'--margin "much" is not a number, or ""'),
        ({"relative_margin": 2.0}, r"--relative-margin is 2.0; it must be at least 0 and at most 1"),
    ],
)
def test_a_mistake_is_told_before_weights_are_loaded(
    mine: Mine, tmp_path: Path, pairs_file: Path, changes: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        "{pairs}": pairs_file,
        "{corpus}": write_rows(tmp_path / "corpus.csv", [["text"], ["a cat"]]),
        "{bad}": write_rows(tmp_path / "bad.csv", [["text", "id"], ["a cat", "1"], ["", "2"]]),
    }
    monkeypatch.setattr(ConnectionBert, "load", classmethod(lambda *_, **__: pytest.fail("weights were loaded")))
    with pytest.raises((UserMistake, SystemExit)) as caught:
        mine(**{name: names.get(value, value) if isinstance(value, str) else value for name, value in changes.items()})
    assert re.search(message, str(caught.value)), caught.value
    assert not (tmp_path / "out").exists()


def test_a_corpus_without_a_header_is_answered_with_its_only_column(mine: Mine, tmp_path: Path) -> None:
    corpus = write_rows(tmp_path / "corpus.csv", [["How are you?"], ["a cat"]])
    with pytest.raises(UserMistake, match=r"--corpus-column") as caught:
        mine(corpus_file=corpus)
    assert "How are you?" in str(caught.value) and "1" in str(caught.value)


def test_nothing_is_written_if_the_file_changes_or_it_is_interrupted(
    mine: Mine, tmp_path: Path, pairs_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = tmp_path / "moving.csv"
    moving.write_bytes(pairs_file.read_bytes())
    found = Miner.mine

    def changed(self: Miner) -> object:
        lines = moving.read_text(encoding="utf-8").splitlines(keepends=True)
        moving.write_text("".join([lines[0], *lines[2:], lines[1]]), encoding="utf-8")
        return found(self)

    monkeypatch.setattr(Miner, "mine", changed)
    with pytest.raises(UserMistake, match=r"moving.csv has changed while it was read. Nothing was written"):
        mine(pairs_file=moving)

    def stopped(self: Miner) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(Miner, "mine", stopped)
    with pytest.raises(KeyboardInterrupt):
        mine()
    assert not list(tmp_path.glob("out/**/*.csv"))


@pytest.mark.parametrize("change", ["shorter", "longer", "less"])
def test_a_file_that_changes_under_a_prompt_is_told(
    mine: Mine, tmp_path: Path, pairs_file: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = pairs_file.read_text(encoding="utf-8").splitlines(keepends=True)
    first = next(csv.reader(lines[1:2]))
    moving = tmp_path / "moving.csv"
    moving.write_text("".join(lines), encoding="utf-8")
    others = {"shorter": [first[0], first[1].split(" ", 1)[1], first[2]], "longer": first, "less": first}
    found = Miner.mine

    def changed(self: Miner) -> object:
        rows = list(csv.reader(lines[2:])) + {"longer": [first], "shorter": [], "less": []}[change]
        write_rows(moving, [next(csv.reader(lines[:1])), others[change], *rows[: None if change != "less" else -1]])
        return found(self)

    monkeypatch.setattr(Miner, "mine", changed)
    with pytest.raises(UserMistake, match=r"moving.csv has changed while it was read. Nothing was written"):
        mine(pairs_file=moving, sentence1_prompt="a man never ")


def test_prompts_go_to_the_encoder_and_not_into_the_file(mine: Mine, pairs_file: Path) -> None:
    plain = mine()
    rows = mine(sentence1_prompt="a man never ", sentence2_prompt="a red bird ")
    answers = {row["answer"] for row in rows}
    assert all(row["negative1"] in answers for row in rows)
    assert [row["similarity1"] for row in rows] != [row["similarity1"] for row in plain]


def test_constants_are_printed_where_a_shell_would_misread_them() -> None:
    text = training_text({"TRAIN_FILE": "a$b`.csv", "SCORE_COLUMN": ""}, Rules(negatives=2))
    assert "TRAIN_FILE = 'a$b`.csv'" in text and "NEGATIVE_COLUMNS = ('negative1', 'negative2')" in text


def test_vectors_that_are_not_finite_are_refused(mine: Mine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ConnectionBert, "encode_tokens", lambda self, tokens, _: np.full((len(tokens), 32), np.nan, np.float32))
    with pytest.raises(UserMistake, match="ENCODER gives vectors that are not finite, first for the sentence"):
        mine()


def test_rules_of_the_constants() -> None:
    rules = Rules(margin=0.0, most_alike=0.5)
    assert rules.limits == {"MARGIN": 0.0, "MOST_ALIKE": 0.5} and replace(rules, margin=None).limits == {"MOST_ALIKE": 0.5}
