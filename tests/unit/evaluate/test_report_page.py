from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from components.artifacts.report import ReportContent, read_framed_page
from components.evaluate import metrics, report_page
from components.evaluate.report_page import single_label
from tests.support.releases.made_explanation import make_explanation
from tests.support.releases.made_report import report_content


class Elements(HTMLParser):
    """Collects the tags, their attributes, and the text outside <style>."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def pictures(html: str) -> list[str]:
    return re.findall(
        r'<svg [^>]*role="img".*?</svg>(?=\s*<(?:ul|details|/figure))', html, re.DOTALL
    )


def test_equal_content_gives_equal_bytes() -> None:
    assert report_page.render_report(report_content()) == report_page.render_report(
        ReportContent.model_validate_json(report_content().model_dump_json())
    )


def test_the_page_asks_nothing_of_a_network_or_a_script() -> None:
    html = report_page.render_report(report_content())
    found = Elements(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {
        tag for tag, _ in found.tags
    }
    assert "default-src 'none'" in html
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bon\w+=|javascript:", html)


def test_the_page_says_what_was_measured() -> None:
    content = report_content(min_accuracy=0.99)
    text = " ".join(Elements(report_page.render_report(content)).text.split())
    assert f"{content.accuracy:.1%} of 240 test texts" in text
    assert f"{content.accuracy_low:.1%} and {content.accuracy_high:.1%}" in text
    assert "The minimum of 99.0% is not reached" in text
    assert "a" * 64 in text and "b" * 64 in text
    for row in content.confusion:
        assert all(str(count) in text for count in row)


def test_the_page_says_by_which_metric_the_best_epoch_was_selected() -> None:
    content = report_content()
    assert "the best in validation.</p>" in report_page.render_report(content)
    options = {"options": {"Best epoch by": "subset_accuracy"}}
    changed = content.model_copy(update={"training": content.training.model_copy(update=options)})
    text = " ".join(Elements(report_page.render_report(changed)).text.split())
    assert "the best in validation by subset_accuracy." in text


def test_the_metric_that_selected_the_best_epoch_is_drawn_and_listed() -> None:
    content = report_content()
    epochs = content.training.history
    history = [epoch.model_copy(update={"validation_macro_f1": 0.123}) for epoch in epochs]
    update = {"history": history, "options": {"Best epoch by": "macro_f1"}}
    changed = content.model_copy(update={"training": content.training.model_copy(update=update)})
    html = report_page.render_report(changed)
    assert "<h3>Macro-F1</h3>" in html and "<h3>Accuracy</h3>" not in html
    assert "Validation macro-F1 by epoch: 12.3%" in html
    assert "12.3%</td>" in html and "Validation accuracy</th>" in html
    assert "<h3>Accuracy</h3>" in report_page.render_report(content)


def test_a_mean_score_of_one_stays_within_its_scale() -> None:
    assert "left: calc(var(--x) * (100% - 10px)); width: 10px" in report_page.render_report(
        report_content()
    )


def test_each_minimum_is_shown_with_what_was_measured() -> None:
    classes = ("calm", "<b>", "odd")
    content = report_content(classes)
    assert "evaluate.minimum" not in report_page.render_report(content)
    recall, f1 = content.per_class["calm"].recall or 0, content.per_class["<b>"].f1 or 0
    changed = content.model_copy(update={"minimum": {"recall[calm]": recall, "f1[<b>]": 0.9999}})
    text = " ".join(Elements(report_page.render_report(changed)).text.split())
    assert f"Recall of “calm” {recall:.4f} {recall:.4f} reached" in text
    assert f"F1 of “<b>” {f1:.4f} 0.9999 not reached: the gate stays closed" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("<script>alert(1)</script>", "<script>alert(1)</script>", id="script"),
        pytest.param(
            "\"><img src=x onerror=alert(1)> ' `",
            "\"><img src=x onerror=alert(1)> ' `",
            id="quotes",
        ),
        pytest.param("{{ 7 * 7 }} {% raw %}", "{{ 7 * 7 }} {% raw %}", id="template"),
        pytest.param(
            "</td></table></style><h1>&amp;", "</td></table></style><h1>&amp;", id="closing tags"
        ),
        pytest.param(
            "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd",
            "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd",
            id="right to left",
        ),
        pytest.param(
            "\U0001f469\u200d\U0001f680 n\u0303 \ufb01",
            "\U0001f469\u200d\U0001f680 n\u0303 \ufb01",
            id="emoji",
        ),
        pytest.param("a\x00b\x1bc\x85d", "a\ufffdb\ufffdc\ufffdd", id="control characters"),
        pytest.param("x" * 10_000, "x" * 600 + "…", id="long"),
    ],
)
def test_users_text_is_shown_as_text(text: str, shown: str) -> None:
    plain, found = (
        Elements(report_page.render_report(report_content())),
        Elements(report_page.render_report(report_content(text=text))),
    )
    assert found.text.count(shown) == 5
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]


def test_users_text_cannot_turn_the_page_around() -> None:
    html = report_page.render_report(report_content(text="\u202eevil"))
    assert html.count('<td class="text" dir="auto"><bdi>\u202eevil</bdi></td>') == 5


def test_hostile_class_names_and_notes_are_shown_as_text() -> None:
    names = ("<script>x</script>", 'a" onload="b', "\u202ec\x07")
    found = Elements(
        report_page.render_report(report_content(classes=names, notes=["<b>note</b>"]))
    )
    assert (
        found.count("script") == 0
        and "<script>x</script>" in found.text
        and "<b>note</b>" in found.text
    )
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)


def test_no_mistakes_means_no_text() -> None:
    assert "an ordinary text" not in report_page.render_report(report_content(mistakes=0))


def test_each_mistake_and_its_explanation_lead_to_each_other() -> None:
    html = report_page.render_report(
        report_content(), [make_explanation(), make_explanation()], "Only the first 2 of 5."
    )
    found = Elements(html)
    ids = [given["id"] for _, given in found.tags if "id" in given]
    links = [given["href"] for tag, given in found.tags if tag == "a"]
    assert links == [
        "#explanation-1",
        "#explanation-2",
        "#mistake-1",
        "#mistake-2",
    ]
    assert len(ids) == len(set(ids))
    assert {(link or "").removeprefix("#") for link in links} <= set(ids)
    named = " ".join(given.get("aria-labelledby") or "" for _, given in found.tags)
    assert set(named.split()) <= set(ids)
    labels = [given["aria-label"] for _, given in found.tags if given.get("role") == "region"]
    assert len(labels) == len(set(labels))
    assert "Only the first 2 of 5." in found.text
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in found.tags}


def test_in_a_frame_links_stay_in_the_frame(tmp_path: Path) -> None:
    html = report_page.render_report(
        report_content(text='<a href="#explanation-1">'), [make_explanation()]
    )
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    links = re.findall(r'href="([^"]*)"', read_framed_page(tmp_path))
    assert links == ["about:srcdoc#explanation-1", "about:srcdoc#mistake-1"]


def test_without_explanations_there_is_neither_their_style_nor_a_link() -> None:
    html = report_page.render_report(report_content())
    assert ".kx" not in html and "<a " not in html and "Why" not in html
    noted = report_page.render_report(report_content(), (), "The mistakes are not explained.")
    assert "The mistakes are not explained." in noted and "<a " not in noted


def test_explanations_of_hostile_texts_are_shown_as_text() -> None:
    html = report_page.render_report(report_content(), [make_explanation()])
    found = Elements(html)
    assert "Oil <script>fell\ufffd</script>" in found.text
    assert found.count("script") == 0
    assert "\x07" not in html


def test_each_class_has_its_lengths_and_confidences() -> None:
    content = report_content()
    cells = re.findall(r'<td class="n">([^<]*)</td>', report_page.render_report(content))
    for profile in content.class_profiles.values():
        assert f"{profile.tokens_low} to {profile.tokens_high}" in cells
        assert {str(profile.tokens_median), f"{profile.confidence_right:.1%}"} <= set(cells)
        assert f"{profile.confidence_wrong:.1%}" in cells
    old = content.model_copy(update={"class_profiles": {}})
    assert "Length and confidence" not in report_page.render_report(old)


def test_tables_scroll_in_boxes_that_the_keyboard_reaches() -> None:
    html = report_page.render_report(report_content(), [make_explanation()])
    for table in re.finditer(r"<table(?! class=\"mistakes\")", html):
        box = html.rfind('<div class="wide', 0, table.start())
        assert html.find("</div>", box) > table.start()
    boxes = re.findall(r'<(?:div|figure) class="wide[^>]*>', html)
    assert boxes and all('tabindex="0" role="region" aria-label="' in box for box in boxes)


def test_every_picture_is_well_formed_and_described() -> None:
    found = pictures(report_page.render_report(report_content(classes=("a & b", "<c>", '"d"'))))
    assert len(found) == 5
    for svg in found:
        root = ElementTree.fromstring(svg)
        title, description = root.findtext("title"), root.findtext("desc")
        assert (
            title
            and description
            and root.get("aria-labelledby") == " ".join(str(child.get("id")) for child in root[:2])
        )
        assert not re.search(r"nan|inf\b", svg)


def test_ids_are_unique() -> None:
    ids = [
        attributes["id"]
        for _, attributes in Elements(report_page.render_report(report_content())).tags
        if "id" in attributes
    ]
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize(
    ("classes", "cells"),
    [
        pytest.param(2, 4, id="two"),
        pytest.param(12, 144, id="twelve"),
        pytest.param(13, 0, id="too many"),
    ],
)
def test_the_matrix_is_shown_while_it_can_be_read(classes: int, cells: int) -> None:
    html = report_page.render_report(
        report_content(classes=tuple(f"class {number}" for number in range(classes)))
    )
    assert len(re.findall(r'<td class="(?:right|wrong)', html)) == cells
    assert ("too many for a matrix" in html) == (cells == 0)
    assert ("smallest areas are drawn" in html) == (classes > 8)


@pytest.mark.parametrize(
    ("epochs", "marks"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(1, 2, id="one"),
        pytest.param(40, 80, id="many"),
        pytest.param(90, 0, id="too many"),
    ],
)
def test_any_history_can_be_drawn(epochs: int, marks: int) -> None:
    html = report_page.render_report(report_content(epochs=epochs))
    assert html.count('class="mark validation"') == marks
    assert html.count('class="series validation" points=') == 2


def test_one_class_never_reaches_the_minimum() -> None:
    html = report_page.render_report(
        report_content(labels=np.ones(240, np.int32), min_accuracy=0.01)
    )
    assert "All test texts are of one class" in html and "<strong>reached</strong>" not in html


def replace_predictions(content: ReportContent, labels: list[int], always: int) -> ReportContent:
    """The content with the metrics of always predicting one class."""
    scores = np.full((len(labels), len(content.classes)), 0.1, np.float32)
    scores[:, always] = 0.8
    measures = metrics.compute_metrics(np.array(labels, np.int32), scores, content.classes)
    return content.model_copy(update={**dict(measures), "mistakes": ()})


def test_the_page_names_the_majority_class_and_its_share() -> None:
    content = report_content(classes=("<i>", "<b>", "<u>"))
    text = " ".join(Elements(report_page.render_report(content)).text.split())
    share = f"{max(figures.support for figures in content.per_class.values()) / 240:.1%}"
    expected = f"“{content.majority_class}”, the most frequent class, would reach {share}."
    assert f"Always answering {expected}" in text
    assert "is not above" not in text and "No text was given" not in text


def test_a_model_that_never_predicts_a_class_is_called_so() -> None:
    content = replace_predictions(report_content(), [0] * 57 + [1, 2, 2], always=0)
    text = " ".join(Elements(report_page.render_report(content)).text.split())
    assert "The accuracy is not above that of always answering “calm”. The gate stays" in text
    assert "No text was given the classes loud (1 test text), odd (2 test texts)." in text
    assert "The gate stays closed unless evaluate.allow_unpredicted_classes is true." in text


@pytest.mark.parametrize(
    ("minimum", "words"),
    [(0.0, None), (0.1, "is reached."), (0.99, "is not reached: the gate stays closed.")],
    ids=["none", "reached", "not reached"],
)
def test_the_page_says_whether_the_minimum_macro_f1_is_reached(
    minimum: float, words: str | None
) -> None:
    content = report_content().model_copy(update={"min_macro_f1": minimum})
    text = " ".join(Elements(report_page.render_report(content)).text.split())
    assert ("minimum macro-F1" in text) == (words is not None)
    if words:
        assert f"The minimum macro-F1 of {minimum:.3f} {words}" in text


def test_confusions_are_listed_from_the_largest() -> None:
    found = single_label.find_largest_confusions(report_content(), 4)
    counts = [pair["count"] for pair in found]
    assert len(found) == 4 and counts == sorted(counts, reverse=True)
    assert all(pair["label"] != pair["predicted"] for pair in found)


def test_shares_in_the_matrix_are_of_the_true_class() -> None:
    for row in single_label.build_confusion_rows(report_content()):
        assert sum(cell["share"] for cell in row["cells"]) == pytest.approx(1)
        assert row["total"] == sum(cell["count"] for cell in row["cells"])


def test_a_page_of_many_classes_lists_the_worst_and_stays_small() -> None:
    names = tuple(f"class {number}" for number in range(400))
    labels = np.arange(240, dtype=np.int32)
    content = report_content(classes=names, labels=labels)
    html = report_page.render_report(content)
    text = " ".join(Elements(html).text.split())
    assert "the 50 of 400 classes with the lowest F1" in text
    assert html.count('class="meter"') <= 3 * 50 and len(html) < 200_000
    assert "No test texts for class 240, class 241" in text and "and 150 more." in text
    listed = single_label.select_classes(content.per_class)
    worst = max(figures.f1 or 0 for figures in listed.values())
    assert all(
        figures.f1 is None or figures.f1 >= worst
        for name, figures in content.per_class.items()
        if name not in listed
    )
