from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from components.confidence.calibration import (
    MAX_TEMPERATURE,
    apply_temperature,
    fit_temperature,
)


def draw_logits(rows: int = 2_000, sharpness: float = 1.0, seed: int = 1) -> tuple:
    """Labels drawn from the softmax of logits, and the logits made sharper than that."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (rows, 4))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    return labels.astype(np.int32), sharpness * logits


def to_scores(logits: np.ndarray) -> np.ndarray:
    scores: np.ndarray = softmax(logits, axis=1).astype(np.float32)
    return scores


def in_parts(labels: np.ndarray, scores: np.ndarray, parts: int = 3) -> Iterator[tuple]:
    yield from zip(np.array_split(labels, parts), np.array_split(scores, parts), strict=True)


@pytest.mark.parametrize("sharpness", [0.2, 0.7, 1.0, 1.8, 6.0])
def test_the_temperature_is_that_of_the_smallest_cross_entropy(sharpness: float) -> None:
    labels, logits = draw_logits(sharpness=sharpness)
    found = fit_temperature(lambda: in_parts(labels, to_scores(logits)))
    expected = minimize_scalar(
        lambda t: -log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].mean(),
        bounds=(0.05, 20),
        method="bounded",
        options={"xatol": 1e-9},
    ).x
    assert found == pytest.approx(expected, rel=2e-3, abs=1e-4)
    assert found == pytest.approx(sharpness, rel=0.1)


def test_scores_are_scaled_as_logits_would_be() -> None:
    _, logits = draw_logits(sharpness=3)
    found = apply_temperature(to_scores(logits), 1.7)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(logits / 1.7, axis=1), atol=2e-7)
    assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_scores_of_zero_and_one_stay_finite() -> None:
    scores = np.array([[1, 0, 0], [0.5, 0.5, 0]], np.float32)
    found = apply_temperature(scores, 1.5)
    np.testing.assert_allclose(found, scores, atol=1e-6)
    assert np.isfinite(found).all()


def test_without_a_temperature_the_scores_are_the_same_object() -> None:
    scores = np.eye(3, dtype=np.float32)
    assert apply_temperature(scores, None) is scores


def test_rows_that_are_all_right_say_nothing_of_the_temperature() -> None:
    _, logits = draw_logits()
    assert fit_temperature(lambda: in_parts(logits.argmax(axis=1), to_scores(logits))) is None


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], MAX_TEMPERATURE, id="worse-than-chance"),
        pytest.param([[0, 1], [1, 0], [0, 1]], 20.0, id="sure-and-wrong"),
    ],
)
def test_a_model_that_is_mostly_wrong_gets_the_largest_temperature(
    scores: list[list[float]], expected: float
) -> None:
    labels = np.array([1, 1, 0], np.int32)
    assert fit_temperature(lambda: [(labels, np.array(scores, np.float32))]) == pytest.approx(
        expected, rel=1e-2
    )


@pytest.mark.parametrize("parts", [1, 2, 13])
def test_parts_do_not_change_the_temperature(parts: int) -> None:
    labels, logits = draw_logits(sharpness=2.2)
    whole = fit_temperature(lambda: in_parts(labels, to_scores(logits), 1))
    assert fit_temperature(lambda: in_parts(labels, to_scores(logits), parts)) == whole
