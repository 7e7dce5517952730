"""Integrated gradients and occlusion against functions whose integral is known."""

from __future__ import annotations

import numpy as np
import pytest

from components.explain import attribution

IDS = np.array([2, 5, 7, 6, 3], np.int32)
TABLE = np.random.default_rng(5).standard_normal((10, 4)).astype(np.float32)
WEIGHTS = np.array([0.5, -2.0, 1.0, 3.0], np.float32)


class Linear:
    """log-odds = sum over the tokens of weights * embedding."""

    def embed(self, ids):
        return TABLE[ids]

    def differentiate(self, ids, embeddings, target):
        return embeddings.sum(axis=1) @ WEIGHTS, np.broadcast_to(WEIGHTS, embeddings.shape)


class Cubic(Linear):
    """log-odds = sum over the tokens of the cube of its first unit."""

    def differentiate(self, ids, embeddings, target):
        gradient = np.zeros_like(embeddings)
        gradient[..., 0] = 3 * embeddings[..., 0] ** 2
        return (embeddings[..., 0] ** 3).sum(axis=1), gradient


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_contributions_to_a_linear_model_are_exact_for_any_steps(steps):
    found = attribution.integrate_gradients(Linear(), IDS, 0, 0, steps)
    expected = (TABLE[IDS] - TABLE[[2, 0, 0, 0, 3]]) @ WEIGHTS
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-5, atol=1e-6)
    assert found.contributions[[0, -1]].tolist() == [0, 0]
    assert found.gap == pytest.approx(0, abs=1e-5)
    assert found.evidence - found.baseline == pytest.approx(float(expected.sum()), rel=1e-5)


def test_two_points_are_exact_for_a_cubic_and_one_point_leaves_the_known_gap():
    end, start = TABLE[IDS, 0], TABLE[[2, 0, 0, 0, 3], 0]
    exact = attribution.integrate_gradients(Cubic(), IDS, 0, 0, 2)
    np.testing.assert_allclose(exact.contributions, end**3 - start**3, rtol=1e-5, atol=1e-5)
    coarse = attribution.integrate_gradients(Cubic(), IDS, 0, 0, 1)
    middle = ((end - start) * 3 * ((end + start) / 2) ** 2).sum()
    assert coarse.gap == pytest.approx(float((end**3 - start**3).sum() - middle), rel=1e-4)
    assert abs(coarse.gap) > 0.01


def test_occlusion_is_the_fall_of_the_log_odds_without_the_words_pieces():
    class Sums:
        def compute_logits(self, ids):
            return np.stack([ids.sum(axis=1), np.zeros(len(ids))], axis=1).astype(np.float32)

    found = attribution.occlude_words(Sums(), IDS, 0, 0, [[1], [2, 3]])
    assert found == pytest.approx([5, 13])
    assert attribution.occlude_words(Sums(), IDS, 0, 1, [[1]]) == pytest.approx([-5])
    assert attribution.occlude_words(Sums(), IDS, 0, 0, []) == []
    assert IDS.tolist() == [2, 5, 7, 6, 3]


def test_log_odds_are_those_of_the_score_also_where_the_score_rounds_to_1():
    logits = np.array([[1.0, 2.0, 0.5], [60.0, 0.0, 0.0]], np.float32)
    scores = np.exp(logits[0]) / np.exp(logits[0]).sum()
    found = attribution.compute_evidence(logits, 0)
    assert found[0] == pytest.approx(np.log(scores[0] / (1 - scores[0])), rel=1e-5)
    assert found[1] == pytest.approx(60 - np.log(2), rel=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param([1, 2, 3], [10, 20, 90], 1.0, id="same-order"),
        pytest.param([1, 2, 3], [3, 2, 1], -1.0, id="reversed"),
        pytest.param([1, 1, 2, 3], [4, 4, 5, 6], 1.0, id="ties"),
        pytest.param([1, 2], [1, 2], None, id="too-few"),
        pytest.param([1, 1, 1], [1, 2, 3], None, id="constant"),
    ],
)
def test_rank_correlation_is_spearmans(first, second, expected):
    found = attribution.rank_correlation(first, second)
    assert found == (None if expected is None else pytest.approx(expected))
