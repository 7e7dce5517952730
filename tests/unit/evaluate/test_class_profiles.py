from __future__ import annotations

import numpy as np
import pytest

from components.artifacts.report import ClassProfile
from components.evaluate import class_profiles
from components.evaluate.class_profiles import ClassProfiles
from tests.support.releases.made_report import labels_and_scores

MAX_LENGTH = 40


def make_lengths(rows: int) -> np.ndarray:
    return np.random.default_rng(2).integers(3, MAX_LENGTH + 1, rows).astype(np.int32)


def test_the_profile_of_a_small_example_worked_by_hand() -> None:
    profiles = ClassProfiles(("calm", "loud", "odd"), MAX_LENGTH)
    scores = np.array([[0.75, 0.25, 0], [0.5, 0.25, 0.25], [0.125, 0.875, 0]], np.float32)
    profiles.add(np.array([0, 0, 0], np.int32), scores, np.array([5, 40, 7], np.int32))
    found = profiles.compute()
    assert found["calm"] == ClassProfile(
        tokens_low=5,
        tokens_median=7,
        tokens_high=40,
        confidence_right=0.625,
        confidence_wrong=0.875,
    )
    assert set(found["odd"].model_dump().values()) == {None}


def test_quantiles_are_lengths_that_so_many_texts_do_not_exceed() -> None:
    labels, scores = labels_and_scores()
    lengths = make_lengths(len(labels))
    profiles = ClassProfiles(("calm", "loud", "odd"), MAX_LENGTH)
    profiles.add(labels, scores, lengths)
    for number, profile in enumerate(profiles.compute().values()):
        own = np.sort(lengths[labels == number])
        for share, found in ((0.05, profile.tokens_low), (0.5, profile.tokens_median)):
            assert found == own[int(np.ceil(share * len(own))) - 1]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_profiles_do_not_depend_on_how_the_rows_are_cut(size: int) -> None:
    labels, scores = labels_and_scores()
    lengths = make_lengths(len(labels))
    whole, parts = (ClassProfiles(("a", "b", "c"), MAX_LENGTH) for _ in range(2))
    whole.add(labels, scores, lengths)
    for start in range(0, len(labels), size):
        part = slice(start, start + size)
        parts.add(labels[part], scores[part], lengths[part])
    assert parts.compute() == whole.compute()


def test_many_classes_share_counts_of_neighbouring_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(class_profiles, "MAX_CELLS", 30)
    labels, scores = labels_and_scores()
    lengths = make_lengths(len(labels))
    coarse = ClassProfiles(("a", "b", "c"), MAX_LENGTH)
    coarse.add(labels, scores, lengths)
    for number, profile in enumerate(coarse.compute().values()):
        exact = np.sort(lengths[labels == number])[(sum(labels == number) - 1) // 2]
        assert profile.tokens_median is not None
        assert exact <= profile.tokens_median <= min(exact + 4, MAX_LENGTH)
