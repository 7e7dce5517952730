"""How many texts are longer than the model reads, and what of them is lost."""

from __future__ import annotations

import numpy as np
import pytest

from components.artifacts.shard_metadata import LongTextCounts
from components.config.model import CUT, LongTexts
from components.tokenize_text.long_text_counter import LongTextCounter
from pipeline.progress_bar import describe_result

PIECES = [3, 8, 9, 20, 50]
HEAD_TAIL = LongTexts(method="head_tail")
WINDOWS = LongTexts(method="windows", overlap=2, max_windows=4)


def count(
    pieces: list[int], reading: LongTexts = CUT, special_tokens: int = 2
) -> LongTextCounts | None:
    counter = LongTextCounter(10, special_tokens, reading)
    for part in (pieces[:2], pieces[2:]):
        counter.add(np.array(part, np.int64))
    return counter.compute()


@pytest.mark.parametrize(
    ("reading", "cut", "lost", "sentence"),
    [
        pytest.param(
            CUT,
            3,
            1 + 12 + 42,
            "3 of 5 texts (60.0%) are longer than model.max_length 10; cut there, 61.1% of all "
            "word pieces are not read (model.long_texts=head_tail reads their ends, windows all "
            "of them)",
            id="cut",
        ),
        pytest.param(
            HEAD_TAIL,
            3,
            1 + 12 + 42,
            "3 of 5 texts (60.0%) are longer than model.max_length 10; without their middle, 61.1% "
            "of all word pieces are not read",
            id="head-tail",
        ),
        pytest.param(
            WINDOWS,
            1,
            50 - (8 + 3 * 6),
            "3 of 5 texts (60.0%) are longer than model.max_length 10; they are read in windows, "
            "and 1 need more than model.max_windows 4, so that 26.7% of all word pieces are not "
            "read",
            id="windows",
        ),
    ],
)
def test_what_is_not_read_is_counted_in_a_sentence(
    reading: LongTexts, cut: int, lost: int, sentence: str
) -> None:
    """Fault D10."""
    found = count(PIECES, reading)
    assert found == LongTextCounts(texts=5, longer=3, cut=cut, pieces=90, lost=lost)
    assert found.describe(10, reading) == sentence


def test_windows_lose_nothing_where_they_are_enough() -> None:
    found = count(PIECES[:4], WINDOWS)
    assert found is not None and found.cut == found.lost == 0
    assert found.describe(10, WINDOWS).endswith("they are read in full, in windows")


def test_pairs_have_one_token_less_for_their_texts() -> None:
    assert count([7, 7]) is None
    found = count([7, 8], special_tokens=3)
    assert found is not None and (found.longer, found.lost) == (1, 1)
    assert found.describe(10, CUT, has_pairs=True) == (
        "1 of 2 pairs (50.0%) are longer than model.max_length 10; the longer text of each is cut, "
        "and 6.7% of all word pieces are not read (raise model.max_length to read more)"
    )


def test_the_line_of_the_step_has_the_share_that_is_lost() -> None:
    rows = {"train_rows": 70, "validation_rows": 10, "test_rows": 20}
    sizes = "70 training, 10 validation and 20 test rows"
    assert describe_result(rows) == sizes
    assert describe_result({**rows, "longer_texts": 3, "cut_texts": 3, "lost_share": 0.611}) == (
        f"{sizes}; 3 long texts, 61.1% of all word pieces not read"
    )
