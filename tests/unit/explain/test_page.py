"""The page of explanations: complete, escaped, without anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from components.explain.attention import WordAttention
from components.explain.explanation import Word
from components.explain.page import render_fragment, render_page, render_parts, render_style
from tests.support.releases.made_explanation import (
    TEXT,
    make_explanation,
    make_labels_explanation,
    make_number_explanation,
)


class Reader(HTMLParser):
    """Element ids, references, tags in the order of their ends, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "aria-labelledby":
                self.references += (value or "").split()

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_no_scripts_and_asks_nobody_for_anything() -> None:
    page = render_page([make_explanation(), make_explanation()], {"Name": "<i>news"})
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "b", "i"} & set(reader.tags)
    assert not re.search(r"(src|href)=|url\(|@import|https?:", page)
    assert "default-src 'none'" in page
    assert "\x07" not in page
    assert "<i>news" in reader.text


def test_every_id_is_one_elements_and_every_reference_leads_to_one() -> None:
    reader = Reader(render_page([make_explanation(), make_explanation()], {}))
    assert len(reader.ids) == len(set(reader.ids)) == 4 * 2 * 2 + 3
    assert set(reader.references) <= set(reader.ids)


def test_the_text_is_shown_as_it_is_and_its_words_are_marked() -> None:
    page = render_page([make_explanation()], {})
    assert TEXT.replace("\x07", "\N{REPLACEMENT CHARACTER}") in Reader(page).text
    assert re.findall(r'<mark class="(\w+)" style="--s: ([0-9.]+)" title="(.+?)">', page) == [
        ("for", "0.45", "+1.250"),
        ("against", "0.18", "\N{MINUS SIGN}0.500"),
    ]
    assert '<span class="unread">' in page


def test_tables_have_what_the_pictures_show() -> None:
    reader = Reader(render_page([make_explanation()], {}))
    for value in ("+1.250", "+0.500", "oil", "Layer 2, mean of the heads", "Layer 2, head 1"):
        assert value in reader.text
    assert "[SEP] 0.40, <script>fell 0.30, Oil 0.20" in reader.text
    assert "Only [CLS] is computed in this layer" in reader.text


def test_long_texts_have_tables_and_no_pictures() -> None:
    words = tuple(Word("w", 2 * n, 2 * n + 1, ("w",), 0.1, None) for n in range(70))
    weights = np.full((72, 72), 1 / 72, np.float32)
    page = render_page(
        [make_explanation("w " * 70, words=words, attention=(WordAttention(1, 1, weights),))], {}
    )
    assert "<svg" not in page
    assert "too many for a picture" in page
    assert page.count("[SEP]") == 1 + page.count("<bdi>[SEP]</bdi> 0")


def test_zeros_have_no_sign_and_one_step_is_singular() -> None:
    page = render_page([make_explanation(gap=-0.0001, steps=1)], {})
    assert "but for 0.000 (1 step)." in page


def test_many_classes_are_summed_up() -> None:
    scores = {"<b>Business": 0.5} | {f"class {number}": 0.5 / 99 for number in range(99)}
    text = " ".join(Reader(render_page([make_explanation(scores=scores)], {})).text.split())
    assert "class 3 0.5% and 95 classes with less. Explained" in text


def test_of_what_is_not_read_the_beginning_is_shown() -> None:
    page = render_page([make_explanation(TEXT + "x" * 10_000)], {})
    assert page.count("x" * 100) == 2
    assert len(page) < 20_000


def test_parts_of_another_page_are_short_and_have_their_own_ids() -> None:
    parts = render_parts([make_explanation(), make_explanation()], "mistake")
    reader = Reader("".join(parts))
    assert len(reader.ids) == len(set(reader.ids)) == 2 * 2 * 2
    assert not {"style", "h1", "h2", "h3", "rect"} & set(reader.tags)
    assert len(parts[0]) < 0.7 * len(render_fragment(make_explanation()))
    assert ".kx" in render_style()


def test_parts_list_the_strongest_words_of_long_texts_without_their_attention() -> None:
    words = tuple(Word(f"w{n}", -1, -1, (f"w{n}",), 0.01 * n, None) for n in range(70))
    attention = (WordAttention(1, 1, np.full((72, 72), 1 / 72, np.float32)),)
    (part,) = render_parts([make_explanation("w", words=words, attention=attention)], "mistake")
    assert "The 40 strongest of 70 words" in part
    assert re.findall(r'<th scope="row"><bdi>(w[0-9]+)</bdi>', part) == [
        f"w{n}" for n in range(30, 70)
    ]
    assert "<svg" not in part and "Attention" not in part


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"words": (), "attention": (), "unread": None, "text": ""}, id="empty-text"),
        pytest.param(
            {"baseline": None, "gap": None, "steps": 0, "agreement": None, "attention": ()},
            id="sealed-encoder",
        ),
        pytest.param(
            {"words": (Word("cat", -1, -1, ("cat",), 0.0, 0.0),), "attention": ()},
            id="unknown-places",
        ),
        pytest.param({"text": "Oil \ud800", "unread": None}, id="lone-surrogate"),
    ],
)
def test_every_kind_of_explanation_has_a_page(changes: dict[str, object]) -> None:
    explanation = make_explanation(**changes)  # type: ignore[arg-type]
    page = render_page([explanation], {})
    page.encode("utf-8")
    assert page == render_page([explanation], {})
    assert explanation._repr_html_() == render_fragment(explanation)
    assert "<html" not in render_fragment(explanation)


def test_an_explanation_is_one_line_where_there_is_no_page() -> None:
    shown = repr(make_explanation(text="Oil\nfell"))
    assert shown.startswith("<Explanation ") and shown.endswith(" words: 'Oil\\nfell'>")


def test_several_labels_are_all_named_and_one_of_them_is_explained() -> None:
    text = Reader(render_page([make_labels_explanation()], {})).text
    assert "Text 1: <b>Business, World\n" in text
    assert "Given the labels <b>Business, World: <b>Business 90.0%, World 60.0%." in text
    assert "Explained is <b>Business." in text


def test_a_number_is_raised_and_lowered_in_its_own_units() -> None:
    page = render_page([make_number_explanation()], {})
    text = Reader(page).text
    assert "Predicted is 1234.6." in text
    assert "The number is 1234.6; without words \N{MINUS SIGN}900.0." in text
    assert "they are in the units of the number" in text
    assert "Contribution of each word to the number, and by how much it falls" in text
    assert "odds" not in text.replace("log-odds", "odds") and ">raises<" in page
