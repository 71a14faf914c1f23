"""What pairs have in common: repeats, contradictions, overlap of files, the dev split; and how OVERLAP acts on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connection import UserMistake
from connection.randomness import DEV_SPLIT, derive
from connection.reading.layout import Layout
from connection.reading.overlap import count_repeats, count_shared, normal_form, split_dev, without_shared
from connection.reading.pairs import read_pairs
from connection.reading.splits import read_splits
from connection.run.predictions import prediction_rows
from connection.training.evaluation import Evaluation


def table(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sentence1", "sentence2", "score"])


def test_repeats_and_contradictions() -> None:
    """Rows 2 and 3 repeat row 1 to the letter, rows 4 and 5 but for order, case, spacing and width; two scores in all."""
    same = [
        ("A cat", "A dog", 1.0),
        ("A cat", "A dog", 1.0),
        ("A cat", "A dog", 0.5),
        ("a  DOG", "A cat", 1.0),
        ("Ａ cat", "a dog", 1.0),
    ]
    assert count_repeats(table(*same, ("A cat", "A bird", 0.0))) == {
        "exact_duplicates": 2,
        "duplicates": 4,
        "pairs_with_several_scores": 1,
    }


def test_what_two_files_share() -> None:
    train = table(("A", "B", 1.0), ("C", "D", 0.0), ("E", "F", 0.5))
    dev = table(("A", "B", 0.0), ("d", "C ", 1.0), ("E", "x", 0.2))
    assert count_shared(train, dev) == {"exact_pairs": 1, "pairs": 2, "sentences": 3, "train_rows": 2}
    assert without_shared(train, [dev])["sentence1"].tolist() == ["E"]


def test_the_benchmark_itself(stsb: Path) -> None:
    train, dev = (read_pairs(stsb / name, Layout()).table for name in ("train.csv", "dev.csv"))
    repeats, shared = count_repeats(train), count_shared(train, dev)
    assert (repeats["exact_duplicates"], repeats["pairs_with_several_scores"]) == (43, 15)
    assert (shared["exact_pairs"], shared["sentences"]) == (6, 249)
    split = split_dev(train, 0.1, 42)
    assert len(split.train) + len(split.dev) == 5749 and len(split.dev) == 575 and not split.reason


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcdefghijklmnopqrst"), st.sampled_from("ABCDEFGHIJKLMNOPQRST"), st.sampled_from([0.0, 0.5, 1.0])
    ),
    min_size=4,
    max_size=40,
)
RULES = ["no sentence on both sides", "no sentence1 on both sides", "rows at random, no pair on both sides"]


def kept_apart(pairs: pd.DataFrame, rule: str) -> list[set]:
    """What `rule` allows on one side only, for each row."""
    forms = [[normal_form(sentence) for sentence in pairs[side]] for side in ("sentence1", "sentence2")]
    both = [frozenset(pair) for pair in zip(*forms, strict=True)]
    if rule == RULES[0]:
        return [set(pair) for pair in both]
    return (
        [{first, pair} for first, pair in zip(forms[0], both, strict=True)] if rule == RULES[1] else [{pair} for pair in both]
    )


def by_hand(apart: list[set], wanted: int, seed: int) -> list[int]:
    """The dev rows: groups of rows that share something, in the order of the bits of their first row, while they fit."""
    groups: list[tuple[set, list[int]]] = []
    for row, own in enumerate(apart):
        joined = [group for group in groups if group[0] & own]
        groups = [group for group in groups if not group[0] & own]
        groups.append((own.union(*(group[0] for group in joined)), sorted([row, *(r for group in joined for r in group[1])])))
    dev: list[int] = []
    for _, rows in sorted(groups, key=lambda group: int(derive(seed, DEV_SPLIT, group[1][0])[0])):
        dev += rows if len(dev) + len(rows) <= wanted else []
    return sorted(dev)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(0, 2**40), st.floats(0.05, 0.9))
def test_dev_is_split_off_by_the_first_rule_that_is_possible(rows: list, seed: int, share: float) -> None:
    pairs, wanted = table(*rows), max(1, round(share * len(rows)))
    splits = {rule: by_hand(kept_apart(pairs, rule), wanted, seed) for rule in RULES}
    scores = {
        rule: [{row[2] for i, row in enumerate(rows) if (i in dev) == side} for side in (True, False)]
        for rule, dev in splits.items()
    }
    usable = [rule for rule in RULES if min(map(len, scores[rule])) > 1]
    if not usable:
        with pytest.raises(UserMistake, match=f"DEV_SHARE: {wanted} of the {len(rows)} training rows .* cannot be split off"):
            split_dev(pairs, share, seed)
        return
    large = [rule for rule in usable if 2 * len(splits[rule]) >= wanted]
    rule = large[0] if large else max(usable, key=lambda rule: len(splits[rule]))
    split = split_dev(pairs, share, seed)
    assert (split.rule, split.dev.tolist()) == (rule, splits[rule])
    assert sorted([*split.train, *split.dev]) == list(range(len(rows)))
    apart = kept_apart(pairs, rule)
    assert not set().union(*(apart[row] for row in split.train)) & set().union(*(apart[row] for row in split.dev))
    assert [f'"{earlier}" leaves' in split.reason for earlier in RULES] == [RULES.index(r) < RULES.index(rule) for r in RULES]
    again = split_dev(pairs, share, seed)
    assert np.array_equal(again.train, split.train) and np.array_equal(again.dev, split.dev)


def many_to_few(firsts: int, seconds: int) -> pd.DataFrame:
    """200 rows of `firsts` questions and `seconds` answers, which questions with two answers connect."""
    return table(*((f"question {i % firsts}", f"answer {(i + i // firsts) % seconds}", i % 6 / 5) for i in range(200)))


@pytest.mark.parametrize(
    ("firsts", "seconds", "rule", "reason"),
    [
        (200, 200, RULES[0], ""),
        (100, 10, RULES[1], '"no sentence on both sides" leaves 0 for dev, since 200 rows share 10 sentence2'),
        (
            1,
            200,
            RULES[2],
            "; ".join(f'"{earlier}" leaves 0 for dev, since 200 rows share 1 sentence1' for earlier in RULES[:2]),
        ),
    ],
)
def test_many_sentences_against_few(firsts: int, seconds: int, rule: str, reason: str) -> None:
    pairs = many_to_few(firsts, seconds)
    splits = [split_dev(pairs, 0.1, seed) for seed in (1, 2)]
    for split in splits:
        assert (len(split.train), len(split.dev), split.rule, split.reason) == (180, 20, rule, reason)
    assert splits[0].dev.tolist() != splits[1].dev.tolist()


def test_a_dev_of_a_few_rows_gives_way_to_the_next_rule() -> None:
    """Of 100 rows 94 share an answer: without a shared sentence dev would have 6 of 20 rows, but 10 of them are enough."""
    rows = [(f"question {i}", "answer" if i < 94 else f"answer {i}", i % 2) for i in range(100)]
    split = split_dev(table(*rows), 0.2, 3)
    assert (len(split.dev), split.rule) == (20, RULES[1])
    assert split.reason == '"no sentence on both sides" leaves 6 for dev, since 94 rows share 1 sentence2'
    rows = [(f"question {i}", "answer" if i < 90 else f"answer {i}", i % 2) for i in range(100)]
    split = split_dev(table(*rows), 0.2, 3)
    assert (split.dev.tolist(), split.rule, split.reason) == (list(range(90, 100)), RULES[0], "")


def test_a_pair_is_never_on_both_sides_in_either_order() -> None:
    """Every question is once sentence1 and once sentence2 of a pair: by sentence1 alone the two would be divided."""
    rows = [(f"question {i}", "answer", i % 2) for i in range(20)] + [("answer", f"question {i}", i % 2) for i in range(20)]
    pairs = table(*rows)
    split = split_dev(pairs, 0.2, 1)
    assert split.rule == RULES[2] and len(split.dev) == 8
    assert count_shared(pairs.iloc[split.train], pairs.iloc[split.dev])["pairs"] == 0


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {
        "train": "A,B,0\nC,D,5\nE,F,3\nG,H,2\na,b ,1\n",
        "dev": "A,B,0\nI,J,5\n",
        "test": "D,C,1\nK,L,4\n",
    }
    for name, text in contents.items():
        (tmp_path / f"{name}.csv").write_text("sentence1,sentence2,score\n" + text, encoding="utf-8")
    return {name: tmp_path / f"{name}.csv" for name in contents}


def split(files: dict[str, Path], overlap: str = "report", **changes: object):
    arguments = {"dev_file": files["dev"], "test_file": files["test"], "dev_share": 0.4, "seed": 1} | changes
    named = {"train": files["train"]} | {name: arguments.pop(f"{name}_file") for name in ("dev", "test")}
    return read_splits(named, Layout(), overlap=overlap, **arguments)


def test_overlap_is_reported_and_recorded(files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    splits = split(files)
    assert len(splits.train) == 5
    assert splits.overlap["train"] == {"exact_duplicates": 0, "duplicates": 1, "pairs_with_several_scores": 1}
    assert splits.overlap["dev"] == {"exact_pairs": 1, "pairs": 1, "sentences": 2, "train_rows": 2}
    assert splits.overlap["test"] == {"exact_pairs": 0, "pairs": 1, "sentences": 2, "train_rows": 1}
    told = capsys.readouterr().out
    for text in (
        "Scores: 0 to 5 in the files become 0 to 1.",
        f"Train 5 pairs from {files['train']} (repeats except for case, spacing or order: 1; pairs with several scores: 1)",
        "Train and dev share: identical pairs 1, pairs ignoring case, spacing and order 1, identical sentences 2.",
        'These pairs stay in train: set OVERLAP to "drop"',
    ):
        assert text in told


def test_overlap_is_dropped_or_refused(files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    dropped = split(files, "drop")
    assert dropped.train.table["sentence1"].tolist() == ["E", "G"]
    assert dropped.train.table["line"].tolist() == [4, 5]
    assert 'OVERLAP = "drop": 3 rows left out of train.' in capsys.readouterr().out
    with pytest.raises(UserMistake, match='OVERLAP is "refuse"'):
        split(files, "refuse")
    files["dev"].write_text("sentence1,sentence2,score\nA,B,1\nE,F,0\nG,H,5\n", encoding="utf-8")
    with pytest.raises(UserMistake, match='OVERLAP = "drop" leaves no different scores'):
        split(files, "drop")


def test_without_a_dev_file_a_share_is_split_off(files: dict[str, Path]) -> None:
    splits = split(files, dev_file=None, test_file=None)
    assert splits.test is None and len(splits.train) + len(splits.dev) == 5
    assert [row[0] for row in splits.dev.cells] == splits.dev.table["sentence1"].tolist()
    assert set(splits.train.table["line"]) | set(splits.dev.table["line"]) == {2, 3, 4, 5, 6}


def test_what_a_split_off_dev_shares_is_reported_and_recorded(files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    many_to_few(100, 10).to_csv(files["train"], index=False)
    splits = split(files, "refuse", dev_file=None, test_file=None, dev_share=0.1)  # no pair is shared: nothing to refuse
    assert (len(splits.train), len(splits.dev)) == (180, 20)
    answers = {row[1] for row in splits.dev.cells}
    assert splits.overlap["dev"] == {"exact_pairs": 0, "pairs": 0, "sentences": len(answers), "train_rows": 0}
    told = capsys.readouterr().out
    assert (
        "Dev   20 of these are split off, no sentence1 on both sides "
        '("no sentence on both sides" leaves 0 for dev, since 200 rows share 10 sentence2); 180 are left.\n'
        "Train and dev share: identical pairs 0, pairs ignoring case, spacing and order 0, identical sentences "
        f"{len(answers)}.\n" in told
    )


def test_predictions_stand_beside_the_users_columns(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("id,sentence1,predicted_after,sentence2,score\n7,A,old,B,1\n8,C,old,D,2\n", encoding="utf-8")
    pairs = read_pairs(path, Layout(), keep_cells=True)
    before, after = (Evaluation({"spearman": 0.0}, 0.0, np.array(x), 0.0) for x in ([0.1, 0.2], [1 / 3, -1.0]))
    header, rows = prediction_rows(pairs, before, after)
    assert header == ["id", "sentence1", "sentence2", "score", "predicted_before", "predicted_after"]
    assert rows == [["7", "A", "B", "1", "0.1", "0.333333333"], ["8", "C", "D", "2", "0.2", "-1"]]
