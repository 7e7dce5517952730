"""What a block of rows is said to hold is what its rows hold, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.text_columns import join_columns, join_valid_texts, text_error

VALUES = st.one_of(st.none(), st.integers(), st.text(alphabet="a \t\u200b\0\ud800é", max_size=3))


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=3))
def test_a_block_is_faultless_only_if_each_row_is(rows):
    texts = join_valid_texts(list(zip(*rows, strict=True)))
    if texts is not None:
        assert texts == [join_columns(row) for row in rows]
        assert not any(map(text_error, texts))


@pytest.mark.parametrize(
    ("columns", "texts"),
    [
        pytest.param([["a", ""], ["", "b c"]], ["a", "b c"], id="empty-fields-leave-no-space"),
        pytest.param(
            [["(a)", "é"], ["…", "x"], ["1", "2"]],
            ["(a) … 1", "é x 2"],
            id="signs-and-other-scripts",
        ),
        pytest.param([["a"], [""], ["b"]], ["a b"], id="three-columns"),
    ],
)
def test_texts_of_whole_blocks(columns, texts):
    assert join_valid_texts(columns) == texts
