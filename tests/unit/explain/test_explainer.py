"""What an explanation says of a text, with a model that is computed in NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from components.artifacts.task import TaskInfo
from components.errors import KubertError, UsageError
from components.explain import explainer as module
from components.explain.explainer import Explainer
from components.explain.options import MAX_STEPS, AttentionChoice, ExplanationOptions
from components.explain.words import TokenizedText

MAX_LENGTH = 80
PADDING, UNKNOWN, FIRST, LAST = 0, 1, 2, 3
NUMBERS = {"good": 4, "bad": 5, "so": 6}
VALUES = np.array([0, 0, 0, 0, 2.0, -3.0, 0.5], np.float32)
"""What each id adds to the logit of `yes`."""


def tokenize(texts):
    rows = []
    for text in texts:
        pieces = tuple(word if word in NUMBERS else "[UNK]" for word in text.split())
        ids = tuple(NUMBERS.get(piece, UNKNOWN) for piece in pieces)
        read = np.array([FIRST, *ids[: MAX_LENGTH - 2], LAST], np.int32)
        rows.append(TokenizedText(pieces, ids, read, PADDING))
    return rows


class Summing:
    """The logit of `yes` is the sum of its tokens' values, to a power; that of `no` is 0."""

    def __init__(self, power: int = 1, is_sealed: bool = False) -> None:
        self.power, self.is_sealed = power, is_sealed

    def embed(self, ids):
        return VALUES[ids][..., np.newaxis]

    def compute_logits(self, ids):
        total = VALUES[ids].sum(axis=1) ** self.power
        return np.stack([np.zeros_like(total), total], axis=1)

    def differentiate(self, ids, embeddings, target):
        sign = 1 if target == 1 else -1
        total = embeddings[..., 0].sum(axis=1)
        slope = sign * self.power * total ** (self.power - 1)
        return sign * total**self.power, np.repeat(slope, ids.shape[1]).reshape(*ids.shape, 1)

    def attend(self, ids):
        tokens = ids.shape[1]
        return [np.full((1, 1, tokens, tokens), 1 / tokens, np.float32)]


def make_explainer(model) -> Explainer:
    def score(texts):
        logits = np.concatenate([model.compute_logits(row.ids[None]) for row in tokenize(texts)])
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    return Explainer(model, tokenize, score, ("no", "yes"))


def explain(text, model=None, **options):
    explainer = make_explainer(model or Summing())
    (found,) = explainer.explain(explainer.plan([text], ExplanationOptions(**options)))
    return found


def test_contributions_and_occlusions_of_a_sum_are_its_parts():
    found = explain("so good good bad", target="yes", steps=3)
    assert (found.label, found.target) == ("yes", "yes")
    assert found.log_odds == pytest.approx(1.5)
    assert (found.baseline, found.gap) == pytest.approx((0, 0))
    assert [word.contribution for word in found.words] == pytest.approx([0.5, 2, 2, -3])
    assert [word.occlusion for word in found.words] == pytest.approx([0.5, 2, 2, -3])
    assert found.agreement == pytest.approx(1)
    assert found.notes == ()


def test_the_predicted_class_is_explained_unless_another_is_asked_for():
    assert explain("bad").target == "no"
    assert [word.contribution for word in explain("bad").words] == pytest.approx([3])
    assert explain("bad", target="yes").log_odds == pytest.approx(-3)


class Leaning(Summing):
    """Prefers `yes` by 2 before it reads a word."""

    def compute_logits(self, ids):
        return super().compute_logits(ids) + np.array([0, 2], np.float32)

    def differentiate(self, ids, embeddings, target):
        log_odds, slopes = super().differentiate(ids, embeddings, target)
        return log_odds + (2 if target == 1 else -2), slopes


@pytest.mark.parametrize(
    ("text", "target", "sentence"),
    [
        pytest.param(
            "so", "yes", "prefers this class also without the words (log-odds +2.000); the words "
            "change the log-odds by +0.500.", id="small",
        ),
        pytest.param(
            "bad", "yes", "would prefer this class without the words (log-odds +2.000); the words "
            "change the log-odds by -3.000.", id="against",
        ),
        pytest.param("good so", "yes", None, id="the-words-decide"),
        pytest.param("bad", "no", None, id="another-class"),
        pytest.param("", "yes", None, id="no-words"),
    ],
)  # fmt: skip
def test_a_class_that_is_preferred_without_the_words_is_stated(text, target, sentence):
    notes = explain(text, Leaning(), target=target).notes
    found = [note for note in notes if "without the words" in note]
    assert found == ([] if sentence is None else [f"The model {sentence}"])


def test_a_coarse_integral_is_stated():
    found = explain("bad good", Summing(power=3), target="yes", steps=1)
    assert found.gap == pytest.approx(-1 + 3 * 0.25)
    assert "The contributions miss -0.250 of the log-odds" in found.notes[-1]
    assert "use more steps" in found.notes[-1]


@pytest.mark.parametrize("steps", [0, -1, MAX_STEPS + 1])
def test_numbers_of_steps_that_no_integral_has_are_refused(steps):
    explainer = make_explainer(Summing())
    with pytest.raises(UsageError, match=rf"steps={steps}: must be from 1 to 10,000"):
        explainer.plan(["good"], ExplanationOptions(steps=steps))


class Counting(Summing):
    """Counts the rows of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = self.gradients = 0

    def compute_logits(self, ids):
        self.forward += len(ids)
        return super().compute_logits(ids)

    def differentiate(self, ids, embeddings, target):
        self.gradients += len(ids)
        return super().differentiate(ids, embeddings, target)


def test_the_passes_are_those_that_are_computed():
    model = Counting()
    explainer = make_explainer(model)
    plan = explainer.plan(["so good", "bad"], ExplanationOptions(steps=40))
    model.forward = model.gradients = 0
    list(explainer.explain(plan))
    assert model.gradients == plan.gradient_passes == 2 * 42
    assert model.forward == plan.forward_passes + 2 == 3 + 2 + 2  # and each text's own score


def test_long_texts_are_not_occluded_word_by_word():
    found = explain("so " * (module.MAX_OCCLUDED_WORDS + 1))
    assert [word.occlusion for word in found.words] == [None] * len(found.words)
    assert "more than 50 words" in found.notes[-1]
    assert found.agreement is None


def test_a_sealed_encoder_is_occluded_however_long_the_text():
    found = explain("good " + "so " * 60, Summing(is_sealed=True))
    assert found.words[0].occlusion == pytest.approx(2)
    assert {word.contribution for word in found.words} == {None}
    assert (found.steps, found.attention, found.agreement) == (0, (), None)


def test_the_text_is_split_into_words_and_what_is_between_them():
    found = explain("so  good bad", steps=3)
    parts = [
        (part.text, part.word and part.word.text, part.is_unread) for part in found.split_text()
    ]
    assert "".join(text for text, _, _ in parts) == "so  good bad"
    assert [word for _, word, _ in parts if word] == ["so", "good", "bad"]
    assert {unread for _, _, unread in parts} == {False}


def test_words_have_shares_of_the_strongest_one():
    found = explain("so good bad", steps=3)
    assert [found.share(word) for word in found.words] == pytest.approx([0.5 / 3, 2 / 3, 1])
    assert found.strongest == pytest.approx(3)
    assert explain("").strongest == 0


def test_the_largest_scores_are_listed_and_the_explained_one():
    found = dataclasses.replace(
        explain("good"), scores={"a": 0.1, "b": 0.5, "c": 0.3, "d": 0.1}, target="d"
    )
    assert found.list_scores(2) == [("b", 0.5), ("c", 0.3), ("d", 0.1)]


def test_words_beyond_the_limit_are_named():
    found = explain("so " * 100)
    assert len(found.words) == MAX_LENGTH - 2
    assert found.unread == 3 * (MAX_LENGTH - 2)
    assert found.notes[0].startswith("The model reads 80 tokens of a text; the last 22 of 100")


def test_the_json_form_has_every_figure():
    found = explain("good", steps=2, attention=AttentionChoice("all", "all")).to_dict()
    assert found == {
        "text": "good",
        "label": "yes",
        "scores": pytest.approx({"no": 0.1192, "yes": 0.8808}, abs=1e-4),
        "class": "yes",
        "log_odds": pytest.approx(2),
        "baseline_log_odds": pytest.approx(0),
        "gap": pytest.approx(0),
        "steps": 2,
        "words": [
            {
                "text": "good",
                "start": 0,
                "end": 4,
                "pieces": ["good"],
                "contribution": pytest.approx(2),
                "occlusion": pytest.approx(2),
            }
        ],
        "agreement": None,
        "unread_from": None,
        "tokens": ["[CLS]", "good", "[SEP]"],
        "attention": [{"layer": 1, "head": 1, "weights": [[0.33333] * 3] * 3}],
        "notes": [],
    }


@pytest.mark.parametrize(("threshold", "expected"), [(None, None), (0.5, True), (0.9999, False)])
def test_an_explanation_says_whether_the_answer_is_confident(threshold, expected):
    explainer = dataclasses.replace(make_explainer(Summing()), threshold=threshold)
    (found,) = explainer.explain(explainer.plan(["good"], ExplanationOptions(steps=1)))
    assert found.is_confident is expected


class Several(Summing):
    """The logits of `no` and `yes` are minus and plus the sum, each by itself."""

    def compute_logits(self, ids):
        total = VALUES[ids].sum(axis=1)
        return np.stack([-total, total], axis=1)


class Counted(Summing):
    """The number is 100 times the sum."""

    def compute_logits(self, ids):
        return 100 * VALUES[ids].sum(axis=1, keepdims=True)

    def differentiate(self, ids, embeddings, target):
        total = embeddings[..., 0].sum(axis=1)
        return 100 * total, np.full((*ids.shape, 1), 100.0)


def sigmoid(logits):
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def make_task_explainer(model, task, served=None, **fields) -> Explainer:
    """`served` computes the scores from the logits of a text."""
    served = served or (sigmoid if task.kind == "multi_label" else np.asarray)

    def score(texts):
        logits = [model.compute_logits(row.ids[None]) for row in tokenize(texts)]
        return served(np.concatenate(logits).astype(np.float32))

    classes = () if task.kind == "regression" else ("no", "yes")
    return Explainer(model, tokenize, score, classes, task=task, **fields)


def explain_task(explainer, text, **options):
    (found,) = explainer.explain(explainer.plan([text], ExplanationOptions(**options)))
    return found


SEVERAL = TaskInfo(kind="multi_label")
NUMBERS_TASK = TaskInfo(kind="regression", mean=0.0, std=100.0)


def test_a_label_by_itself_is_explained_by_its_logit():
    explainer = make_task_explainer(Several(), SEVERAL, thresholds=(0.1, 0.6))
    found = explain_task(explainer, "good bad")
    assert (found.labels, found.target, found.label) == (("no",), "no", "")
    assert found.log_odds == pytest.approx(1.0)
    assert [word.occlusion for word in found.words] == pytest.approx([-2, 3])
    other = explain_task(explainer, "good bad", target="yes")
    assert other.log_odds == pytest.approx(-1.0)
    assert [word.contribution for word in other.words] == pytest.approx([2, -3])
    fields = found.to_dict()
    assert (fields["labels"], fields["class"]) == (["no"], "no") and "label" not in fields


def test_each_text_can_have_a_class_of_its_own():
    explainer = make_task_explainer(Several(), SEVERAL, thresholds=(0.1, 0.6))
    plan = explainer.plan(["good bad", "so"], ExplanationOptions(), ["yes", "no"])
    found = list(explainer.explain(plan))
    assert [each.target for each in found] == ["yes", "no"]
    alone = explain_task(explainer, "good bad", target="yes")
    assert found[0].to_dict() == alone.to_dict()
    with pytest.raises(UsageError, match="target=odd: the model has the classes no, yes"):
        explainer.plan(["so", "good"], ExplanationOptions(), ["yes", "odd"])


@pytest.mark.parametrize(
    ("thresholds", "note"),
    [
        pytest.param((0.1, 0.1), "Of 2 labels, the one with the largest score", id="several"),
        pytest.param((0.9, 0.9), "No label reaches its threshold; the one with", id="none"),
    ],
)
def test_which_label_is_explained_is_stated(thresholds, note):
    explainer = make_task_explainer(Several(), SEVERAL, thresholds=thresholds)
    assert explain_task(explainer, "so").notes[0].startswith(note)
    named = explain_task(explainer, "so", target="no").notes
    assert not [each for each in named if each.startswith(note)]


def test_a_number_is_explained_in_its_units_and_has_no_class():
    explainer = make_task_explainer(Counted(), NUMBERS_TASK)
    found = explain_task(explainer, "so good bad")
    assert found.value == pytest.approx(-50)
    assert (found.baseline, found.gap) == pytest.approx((0, 0))
    assert [word.contribution for word in found.words] == pytest.approx([50, 200, -300])
    assert [word.occlusion for word in found.words] == pytest.approx([50, 200, -300])
    assert found.notes == () and repr(found).startswith("<Explanation -50.0, 3 words")
    fields = found.to_dict()
    assert (fields["value"], fields["baseline_value"]) == pytest.approx((-50, 0))
    assert not {"label", "scores", "class", "log_odds"} & fields.keys()
    with pytest.raises(UsageError, match="target=yes: the model predicts numbers"):
        explain_task(explainer, "so", target="yes")


@pytest.mark.parametrize("shift", [0.05, 0.2])
def test_a_number_that_is_not_the_served_one_is_not_explained(shift):
    explainer = make_task_explainer(Counted(), NUMBERS_TASK, lambda numbers: numbers + shift)
    if shift / 100 < module.MAX_SCORE_DIFFERENCE:
        assert explain_task(explainer, "so").value == pytest.approx(50 + shift)
    else:
        with pytest.raises(KubertError, match=r"differ by .* from the served ones"):
            explain_task(explainer, "so")
