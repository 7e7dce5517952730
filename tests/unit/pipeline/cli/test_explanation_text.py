from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from components.explain.attention import WordAttention
from components.explain.explanation import Explanation, Word
from pipeline.api.arguments import parse_numbers
from pipeline.cli.explanation_text import print_explanation
from tests.support.releases.made_explanation import (
    make_labels_explanation,
    make_number_explanation,
)

WORDS = (
    Word("Oil", 0, 3, ("oil",), 1.0, 0.5),
    Word("\x1b[31mfell", 4, 13, ("fell",), -0.6, None),
    Word("so", 14, 16, ("so",), 0.01, None),
)
EXPLANATION = Explanation(
    text="Oil \x1b[31mfell so far",
    label="Business",
    scores={"Business": 0.75, "World": 0.25},
    target="Business",
    log_odds=1.0986,
    baseline=0.7,
    gap=-0.0014,
    steps=32,
    words=WORDS,
    agreement=0.5,
    attention=(WordAttention(1, 2, np.array([[0.1, 0.6, 0.0, 0.3, 0.0]], np.float32)),),
    unread=16,
    notes=("A note.",),
)


def render(explanation: Explanation = EXPLANATION, **options: object) -> str:
    stream = io.StringIO()
    print_explanation(Console(file=stream, width=200, **options), explanation)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_label_below_the_threshold_has_a_question_mark() -> None:
    stream = io.StringIO()
    unsure = dataclasses.replace(EXPLANATION, is_confident=False)
    print_explanation(Console(file=stream, width=200), unsure)
    assert stream.getvalue().splitlines()[0] == "Business?  0.7500"
    assert unsure.to_dict()["is_confident"] is False
    assert "is_confident" not in EXPLANATION.to_dict()


def test_a_pipe_gets_plain_lines_and_tab_separated_tables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert render().splitlines() == [
        "Business  0.7500",
        "Oil \\x1b[31mfell so far",
        "log-odds of Business +1.099, without words +0.700; gap -0.0014 after 32 steps; rank "
        "correlation with occlusion 0.50",
        "note: A note.",
        "attention of layer 1, head 2",
        "",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "word\tcontribution\tocclusion\t",
        "Oil\t+1.000\t+0.500\t++++++++++",
        "\\x1b[31mfell\t-0.600\t\t------",
        "so\t+0.010\t\t",
        "word\tattends to",
        "[CLS]\tOil 0.60, so 0.30, [CLS] 0.10",
    ]


def test_a_terminal_gets_colours_for_and_against(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = render(force_terminal=True, color_system="standard")
    assert "\x1b[1;4;34mOil\x1b[0m" in shown
    assert "\x1b[1;4;33m\\x1b[31mfell\x1b[0m" in shown


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert ";34m" not in render(force_terminal=True, color_system="standard")


def test_another_class_than_the_predicted_one_is_shown_with_its_score() -> None:
    shown = render(dataclasses.replace(EXPLANATION, target="World", log_odds=-1.0986))
    assert shown.splitlines()[:2] == ["Business  0.7500", "explained: World  0.2500"]
    assert "explained" not in render()


def test_zeros_have_no_sign_and_one_is_singular(capsys: pytest.CaptureFixture[str]) -> None:
    zero = dataclasses.replace(
        EXPLANATION,
        baseline=-0.0001,
        gap=-0.00001,
        steps=1,
        words=tuple(Word(f"w{n}", -1, -1, ("w",), -0.0004, -0.0) for n in range(11)),
        attention=(WordAttention(1, 2, np.full((13, 13), 1 / 13, np.float32)),),
    )
    shown = render(zero)
    assert "without words 0.000; gap 0.0000 after 1 step;" in shown
    assert "and 1 more word: see" in shown
    assert capsys.readouterr().out.splitlines()[1].split("\t")[1:3] == ["0.000", "0.000"]


def test_numbers_are_lists_or_names() -> None:
    assert parse_numbers("--layers", "all", ("last", "all")) == "all"
    assert parse_numbers("--layers", "3, 1,3", ("last", "all")) == (3, 1)


def test_a_character_that_reorders_a_line_is_shown_as_an_escape(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "a\u202eb"
    words = (Word(text, 0, 3, ("ab",), 1.0, None),)
    shown = render(dataclasses.replace(EXPLANATION, text=text, words=words, attention=()))
    assert "a\\u202eb" in shown
    assert "\u202e" not in shown + capsys.readouterr().out


def test_several_labels_have_their_scores_and_the_explained_one_is_named() -> None:
    assert render(make_labels_explanation()).splitlines()[:2] == [
        "<b>Business, World  0.9000, 0.6000",
        "explained: <b>Business  0.9000",
    ]
    only = make_labels_explanation(labels=("<b>Business",))
    assert "explained:" not in render(only)
    none = render(make_labels_explanation(labels=())).splitlines()
    assert none[:2] == ["no label", "explained: <b>Business  0.9000"]


def test_a_number_is_explained_in_its_own_units(capsys: pytest.CaptureFixture[str]) -> None:
    number = make_number_explanation(words=(Word("Oil", 0, 3, ("oil",), 150.26, -3.0),))
    shown = render(dataclasses.replace(number, attention=()))
    assert shown.splitlines()[0] == "1234.6"
    assert "number 1234.6, without words -900.0; gap +0.05 after 32 steps;" in shown
    assert capsys.readouterr().out.splitlines()[1].split("\t")[:3] == ["Oil", "+150.3", "-3.0"]
