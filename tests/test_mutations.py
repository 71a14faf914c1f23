"""tests/mutation_list.py fits the product: each line to break is there, once. `make mutations` breaks them."""

from __future__ import annotations

import mutations
import pytest


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_line_to_break_is_there_once(mutation: mutations.Mutation) -> None:
    assert (mutations.ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1
    assert mutation.new != mutation.old
    for test in mutation.tests:
        assert (mutations.ROOT / test.partition("::")[0]).exists()


def test_names_are_distinct() -> None:
    names = [mutation.name for mutation in mutations.MUTATIONS]
    assert len(names) == len(set(names)) >= 25
