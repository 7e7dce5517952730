"""Splits: equal texts together, the requested shares, and nothing moves when rows are added."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.split_names import SPLITS
from components.data.splits import assign_splits, hash_texts, normalize_text
from tests.support.splits import assign_split, hash_text

TEXTS = st.text(alphabet=st.characters(codec="ascii") | st.characters(exclude_categories=["Cs"]))


def split_names(hashes, validation_fraction, test_fraction):
    codes = assign_splits(np.asarray(hashes, np.uint64), validation_fraction, test_fraction)
    return [SPLITS[code] for code in codes]


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
    first, second = hash_texts([one, other])
    assert first == second


def test_the_hash_is_the_same_on_every_machine():
    assert hash_texts(["Wall St. Bears"]).tolist() == [0x91082D0FE9B69A42]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_normalizing_twice_changes_nothing_but_what_case_folding_composes(text):
    first, second = hash_texts([text, f"  {text} "])
    assert first == second
    assert "  " not in normalize_text(text)


def test_shares_are_those_requested():
    splits = split_names(hash_texts([f"text {i}" for i in range(20_000)]), 0.1, 0.2)
    assert splits.count("test") / 20_000 == pytest.approx(0.2, abs=0.01)
    assert splits.count("validation") / 20_000 == pytest.approx(0.08, abs=0.01)


def test_no_row_becomes_a_test_row_beside_a_given_test_split():
    hashes = hash_texts([f"text {i}" for i in range(1000)])
    assert {*split_names(hashes, 0.1, 0.0)} == {"train", "validation"}


@pytest.mark.parametrize(("hashed", "split"), [(0, "test"), (2**64 - 1, "train")])
def test_ends_of_the_range(hashed, split):
    assert split_names([hashed], 0.1, 0.2) == [split]


@given(st.lists(TEXTS, min_size=1))
def test_many_texts_have_the_hashes_and_splits_of_each(texts):
    hashes = hash_texts(texts)
    assert hashes.tolist() == [hash_text(text) for text in texts]
    assert split_names(hashes, 0.3, 0.4) == [
        assign_split(hash_text(text), 0.3, 0.4) for text in texts
    ]


@given(st.integers(0, 2**64 - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_hash_at_the_edge_has_the_same_split_either_way(hashed, validation, test):
    assert split_names([hashed], validation, test) == [assign_split(hashed, validation, test)]
