from __future__ import annotations

import numpy as np
import pytest

from components.errors import UsageError
from components.explain.attention import merge_pieces, select_attention
from components.explain.options import AttentionChoice

WEIGHTS = np.array(
    [[0.1, 0.2, 0.3, 0.4], [0.4, 0.1, 0.1, 0.4], [0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]],
    np.float32,
)
WORDS = [(1, 3)]


def test_attention_to_a_word_is_the_sum_of_its_pieces_and_from_it_their_mean():
    found = merge_pieces(WEIGHTS, [(0, 1), (1, 3), (3, 4)])
    np.testing.assert_allclose(found, [[0.1, 0.5, 0.4], [0.2, 0.6, 0.2], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_one_query_stays_one_row():
    np.testing.assert_allclose(
        merge_pieces(WEIGHTS[:1], [(0, 1), (1, 3), (3, 4)]), [[0.1, 0.5, 0.4]]
    )


def make_layers():
    heads = np.stack([WEIGHTS, np.eye(4, dtype=np.float32)])
    return [heads, heads[:, :1]]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        pytest.param(AttentionChoice(), [(2, None)], id="last-layer-mean-head"),
        pytest.param(AttentionChoice("all", (2,)), [(1, 2), (2, 2)], id="all-layers"),
        pytest.param(AttentionChoice((1,), "all"), [(1, 1), (1, 2)], id="all-heads"),
        pytest.param(AttentionChoice(()), [], id="none"),
    ],
)
def test_layers_and_heads_are_counted_from_1(choice, found):
    selected = select_attention(make_layers(), choice, WORDS)
    assert [(each.layer, each.head) for each in selected] == found


def test_the_mean_of_the_heads_is_that_of_their_weights():
    (mean,) = select_attention(make_layers(), AttentionChoice(), WORDS)
    np.testing.assert_allclose(mean.weights, [[0.55, 0.25, 0.2]], rtol=1e-6)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        pytest.param(
            AttentionChoice((3,)), "layers=3: the model has the layers 1 to 2", id="layer"
        ),
        pytest.param(
            AttentionChoice((1,), (9,)), "heads=9: layer 1 has the heads 1 to 2", id="head"
        ),
    ],
)
def test_a_layer_or_head_that_is_not_there_is_refused(choice, message):
    with pytest.raises(UsageError, match=message):
        select_attention(make_layers(), choice, WORDS)


def test_a_model_without_layers_has_no_attention():
    assert select_attention([], AttentionChoice(), WORDS) == ()
