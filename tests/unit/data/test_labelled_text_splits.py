"""Splits: equal texts together, the asked-for shares, and nothing moves when rows are added."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.split_names import SPLITS
from components.data.splits import (
    assign_split,
    assign_splits,
    hash_text,
    hash_texts,
    normalize_text,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Stocks  rise", " stocks rise\n", id="case-and-space"),
        pytest.param("ﬁne…", "FINE...", id="ligature-and-ellipsis"),
        pytest.param("café", "cafe\u0301", id="combining-mark"),
        pytest.param("Straße", "STRASSE", id="sharp-s"),
        pytest.param("1\u00a02", "1\t2", id="no-break-space"),
    ],
)
def test_near_equal_texts_have_one_hash(one, other):
    assert hash_text(one) == hash_text(other)


def test_the_hash_is_the_same_on_every_machine():
    assert hash_text("Wall St. Bears") == 0x91082D0FE9B69A42


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_normalizing_twice_changes_nothing_but_what_case_folding_composes(text):
    assert hash_text(text) == hash_text(f"  {text} ")
    assert "  " not in normalize_text(text)


def test_shares_are_those_asked_for():
    splits = [assign_split(hash_text(f"text {i}"), 0.1, 0.2) for i in range(20_000)]
    assert splits.count("test") / 20_000 == pytest.approx(0.2, abs=0.01)
    assert splits.count("validation") / 20_000 == pytest.approx(0.08, abs=0.01)


def test_a_given_test_split_takes_no_rows():
    assert {assign_split(hash_text(f"text {i}"), 0.1, 0.0) for i in range(1000)} == {
        "train",
        "validation",
    }


@pytest.mark.parametrize(("hashed", "split"), [(0, "test"), (2**64 - 1, "train")])
def test_ends_of_the_range(hashed, split):
    assert assign_split(hashed, 0.1, 0.2) == split


@given(
    st.lists(
        st.text(alphabet=st.characters(codec="ascii") | st.characters(exclude_categories=["Cs"])),
        min_size=1,
    )
)
def test_many_texts_have_the_hashes_and_splits_of_each(texts):
    hashed = hash_texts(texts)
    assert hashed.tolist() == [hash_text(text) for text in texts]
    assert [SPLITS[code] for code in assign_splits(hashed, 0.3, 0.4)] == [
        assign_split(hash_text(text), 0.3, 0.4) for text in texts
    ]


@given(st.integers(0, 2**64 - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_hash_at_the_edge_has_the_same_split_either_way(hashed, validation, test):
    assert SPLITS[
        assign_splits(np.array([hashed], np.uint64), validation, test)[0]
    ] == assign_split(hashed, validation, test)
