"""Splits: equal texts together, the requested shares, and nothing moves when rows are added."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.split_names import SPLITS
from components.data.splits import (
    assign_splits,
    assign_stratified_splits,
    find_stratified_thresholds,
    hash_texts,
    normalize_text,
)
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


def stratify(hashes, labels, validation_fraction=0.1, test_fraction=0.2):
    hashes, labels = np.asarray(hashes, np.uint64), np.asarray(labels, np.int32)
    thresholds = find_stratified_thresholds(hashes, labels, 4, validation_fraction, test_fraction)
    return [SPLITS[code] for code in assign_stratified_splits(hashes, labels, thresholds)]


def test_stratified_splits_have_the_share_of_every_class():
    labels = np.repeat([0, 1, 3], [1000, 100, 10])
    splits = stratify(hash_texts([f"text {i}" for i in range(len(labels))]), labels)
    counts = {
        (label, split): sum(
            1 for pair in zip(labels, splits, strict=True) if pair == (label, split)
        )
        for label in (0, 1, 3)
        for split in SPLITS
    }
    assert [counts[label, "test"] for label in (0, 1, 3)] == [200, 20, 2]
    assert [counts[label, "validation"] for label in (0, 1, 3)] == [80, 8, 1]


@pytest.mark.parametrize(
    ("texts", "test_fraction", "expected"),
    [
        (1, 0.2, ["train"]),
        (2, 0.2, ["train"] * 2),
        (3, 0.2, ["test", "train", "validation"]),
        (3, 0.49, ["test", "train", "validation"]),
        (1, 0.0, ["train"]),
        (2, 0.0, ["train", "validation"]),
    ],
)
def test_a_small_class_is_in_every_split_if_it_has_enough_texts(texts, test_fraction, expected):
    hashes = [*hash_texts([f"text {i}" for i in range(texts)]).tolist(), 1, 2, 3, 4]
    splits = stratify(hashes, [2] * texts + [0] * 4, test_fraction=test_fraction)
    assert sorted(splits[:texts]) == expected


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.2, 0.4]),
    st.randoms(),
)
def test_rows_with_one_text_are_in_one_split_in_any_order_of_rows(rows, test_fraction, random):
    hashes = (hash_texts([f"text {text}" for text, _ in rows])).tolist()
    labels = [label for _, label in rows]
    splits = stratify(hashes, labels, test_fraction=test_fraction)
    by_text = dict(zip(hashes, splits, strict=True))
    assert [by_text[text] for text in hashes] == splits
    order = random.sample(range(len(rows)), len(rows))
    moved = stratify([hashes[i] for i in order], [labels[i] for i in order], 0.1, test_fraction)
    assert moved == [splits[i] for i in order]
    assert ("test" in splits) <= bool(test_fraction)
    assert "train" in splits


def test_new_rows_move_few_texts_of_stratified_splits():
    texts, labels = hash_texts([f"text {i}" for i in range(1100)]), [0] * 1100
    before, after = stratify(texts[:1000], labels[:1000]), stratify(texts, labels)[:1000]
    moved = sum(one != other for one, other in zip(before, after, strict=True))
    assert 0 < moved < 30
    plain = split_names(texts[:1000], 0.1, 0.2)
    assert sum(one != other for one, other in zip(before, plain, strict=True)) < 60
