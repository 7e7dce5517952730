"""Explanations from the graphs of real releases, one per kind of encoder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from components.artifacts.release import open_release
from components.errors import KubertError, UsageError
from components.explain.loading import explain_classifier, load_explainer
from components.explain.options import AttentionChoice, ExplanationOptions
from components.serving.predict import predict
from tests.support.releases import explained_releases
from tests.support.releases.explained_releases import CLASSES, MAX_LENGTH
from tests.support.releases.served_release import publish_release
from tests.support.training import plain_bert, tiny_bert

TEXTS = [
    "the cats ab.",
    "",
    " \t ",
    "cat " * 40,
    "\U0001f600 \u4e16\u754c",
    "caf\u00e9 (a-b), [SEP] the ??",
    "the cat",
]
DATA = Path(__file__).parents[2] / "data"
SLOW = (pytest.mark.slow, pytest.mark.timeout(1800))
OPTIONS = ExplanationOptions(attention=AttentionChoice("all", "all"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_bert.write(tmp_path_factory.mktemp("bert") / "tiny")


@pytest.fixture(scope="module")
def release(checkpoint, tmp_path_factory):
    made = explained_releases.make_classifier(f"hf:{checkpoint}")
    return explained_releases.make_release(tmp_path_factory.mktemp("release") / "1", *made)


@pytest.fixture(scope="module")
def explainer(release):
    return load_explainer(release)


def explain(explainer, texts, options=OPTIONS):
    return list(explainer.explain(explainer.plan(texts, options)))


def test_scores_are_those_of_predict_and_contributions_add_up(release, explainer):
    found = explain(explainer, TEXTS)
    predicted = list(predict(str(release.directory), TEXTS))
    assert [each.label for each in found] == [each.label for each in predicted]
    for explanation, prediction in zip(found, predicted, strict=True):
        assert explanation.scores == pytest.approx(prediction.scores, abs=1e-6)
        score = explanation.scores[explanation.target]
        assert explanation.log_odds == pytest.approx(np.log(score / (1 - score)), abs=1e-3)
        assert abs(explanation.gap) < 1e-3
        total = sum(word.contribution for word in explanation.words)
        assert total == pytest.approx(explanation.log_odds - explanation.baseline, abs=1e-3)
    assert max(abs(word.contribution) for each in found for word in each.words) > 0.1


def test_one_text_is_explained_as_among_many(explainer):
    alone, among = explain(explainer, TEXTS[:1])[0], explain(explainer, TEXTS)[0]
    assert alone.words == among.words
    assert (alone.log_odds, alone.gap) == (among.log_odds, among.gap)


def test_words_are_put_together_and_found_in_the_text(explainer):
    explanation = explain(explainer, ["the cats ab."])[0]
    assert [(word.text, word.pieces) for word in explanation.words] == [
        ("the", ("the",)),
        ("cats", ("cat", "##s")),
        ("ab", ("a", "##b")),
        (".", (".",)),
    ]
    assert [explanation.text[w.start : w.end] for w in explanation.words] == [
        "the", "cats", "ab", ".",
    ]  # fmt: skip
    assert explanation.tokens == ("[CLS]", "the", "cats", "ab", ".", "[SEP]")
    assert [each.weights.shape for each in explanation.attention] == [(6, 6)] * 6
    for each in explanation.attention:
        np.testing.assert_allclose(each.weights.sum(axis=1), 1, rtol=1e-5)


def test_a_text_that_is_cut_says_where(explainer):
    explanation = explain(explainer, ["cat " * 40])[0]
    assert len(explanation.words) == MAX_LENGTH - 2
    assert explanation.unread == 4 * (MAX_LENGTH - 2)
    assert "the last 26 of 40 words are not read" in explanation.notes[0]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        pytest.param("", "The text has no word that the model reads.", id="empty"),
        pytest.param("\u4e16 \u0e01", "2 of 2 words are not in the vocabulary", id="unknown"),
    ],
)
def test_a_text_without_known_words_is_explained_and_says_so(explainer, text, note):
    explanation = explain(explainer, [text])[0]
    assert any(each.startswith(note) for each in explanation.notes)
    assert explanation.gap == pytest.approx(0, abs=1e-4)


def test_another_class_has_its_own_log_odds(explainer):
    found = {
        name: explain(explainer, ["the cat"], ExplanationOptions(target=name))[0]
        for name in CLASSES
    }
    for name, explanation in found.items():
        score = explanation.scores[name]
        assert explanation.target == name
        assert explanation.log_odds == pytest.approx(np.log(score / (1 - score)), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ExplanationOptions(target="quiet"), "target=quiet: .* calm, loud, odd", id="class"
        ),
        pytest.param(
            ExplanationOptions(attention=AttentionChoice((3,))), "layers=3: .*1 to 2", id="layer"
        ),
        pytest.param(
            ExplanationOptions(attention=AttentionChoice("all", (4,))),
            "heads=4: .*1 to 3",
            id="head",
        ),
    ],
)
def test_what_the_model_does_not_have_is_refused_before_any_explanation(
    explainer, options, message
):
    with pytest.raises(UsageError, match=message):
        explainer.plan(["the cat"], options)


def test_the_cost_is_known_before(explainer):
    plan = explainer.plan(["the cat", ""], ExplanationOptions(steps=10))
    assert (plan.gradient_passes, plan.forward_passes) == (12, 3)
    assert plan.seconds > 0
    assert plan.describe_cost().startswith(
        "explaining 2 texts: 12 forward and backward passes and 3 forward passes, "
    )
    assert explainer.plan([], OPTIONS).describe_cost().startswith("explaining 0 texts: no passes")


def test_a_graph_with_other_scores_than_the_served_ones_is_not_explained(explainer):
    other = dataclasses.replace(explainer, score=lambda texts: explainer.score(texts)[:, ::-1])
    with pytest.raises(KubertError, match="cannot be explained; export it again"):
        other.plan(["the cat"], OPTIONS)


@pytest.mark.parametrize(
    "pooling",
    ["mean", pytest.param("cls", marks=SLOW), pytest.param("pooled", marks=SLOW)],
)
def test_a_checkpoints_classifier_is_explained_as_its_release(checkpoint, tmp_path, pooling):
    classifier, vocabulary = explained_releases.make_classifier(f"hf:{checkpoint}", pooling)
    before = explain(explain_classifier(classifier, vocabulary, CLASSES, MAX_LENGTH), TEXTS)
    release = explained_releases.make_release(tmp_path / "1", classifier, vocabulary)
    after = explain(load_explainer(release), TEXTS)
    for one, two in zip(before, after, strict=True):
        assert one.tokens == two.tokens
        assert (one.unread, one.notes, one.label) == (two.unread, two.notes, two.label)
        np.testing.assert_allclose(
            [word.contribution for word in one.words],
            [word.contribution for word in two.words],
            atol=2e-4,
        )
        for a, b in zip(one.attention, two.attention, strict=True):
            np.testing.assert_allclose(a.weights, b.weights, atol=1e-5)
    queries = {len(each.weights) for each in after[0].attention if each.layer == 2}
    assert queries == ({6} if pooling == "mean" else {1})


def test_attention_is_that_of_an_independent_implementation(checkpoint):
    classifier, vocabulary = explained_releases.make_classifier(f"hf:{checkpoint}")
    model = explain_classifier(classifier, vocabulary, CLASSES, MAX_LENGTH).model
    ids = np.array([[2, 35, 36, 37, 3, 0, 0, 0], [2, 5, 31, 32, 9, 30, 22, 3]], np.int32)
    for layer, expected in zip(model.attend(ids), plain_bert.compute_attentions(ids), strict=True):
        for row, reference, tokens in zip(layer, expected, (5, 8), strict=True):
            np.testing.assert_allclose(row[:, :tokens], reference[:, :tokens], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "minilm"])
def test_attention_is_that_of_hugging_faces_model_with_the_same_weights(checkpoint, name):
    golden = json.loads((DATA / "golden_attention.json").read_text(encoding="utf-8"))[name]
    encoder = "minilm" if name == "minilm" else f"hf:{checkpoint}"
    classifier, vocabulary = explained_releases.make_classifier(encoder)
    model = explain_classifier(classifier, vocabulary, CLASSES, MAX_LENGTH).model
    ids, mask = (
        np.array(golden["inputs"][key], np.int32) for key in ("input_word_ids", "input_mask")
    )
    found = np.stack(model.attend(ids))
    np.testing.assert_allclose(
        found[:, :, :, slice(*golden["rows"])], golden["attention"], rtol=0, atol=2e-5
    )
    own = mask[:, np.newaxis, :, np.newaxis] * mask[:, np.newaxis, np.newaxis, :]
    squares = (np.square(found.astype(float)) * own).sum((3, 4))
    np.testing.assert_allclose(squares, golden["squares"], rtol=1e-4)


def test_an_encoder_trained_from_scratch_is_explained(tmp_path):
    version = publish_release(tmp_path, seed=3)
    release = open_release(tmp_path / "models" / "news" / str(version))
    explanation = explain(load_explainer(release), ["w1 w2 unknown w3"])[0]
    assert [word.text for word in explanation.words] == ["w1", "w2", "unknown", "w3"]
    assert abs(explanation.gap) < 1e-3
    assert len({each.layer for each in explanation.attention}) > 0


def test_a_release_in_bfloat16_is_explained_in_bfloat16(checkpoint, tmp_path):
    made = explained_releases.make_classifier(f"hf:{checkpoint}")
    release = explained_releases.make_release(tmp_path / "1", *made, "bfloat16")
    explanation = explain(load_explainer(release), ["the cats ab."])[0]
    assert abs(explanation.gap) < 0.1 * abs(explanation.log_odds - explanation.baseline) + 0.1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sealed_encoder_is_occluded_and_says_so(checkpoint, tmp_path):
    hub = explained_releases.export_tiny_hub_encoder(checkpoint, tmp_path / "hub")
    made = explained_releases.make_classifier(f"hub:{hub}")
    before = explain(explain_classifier(*made, CLASSES, MAX_LENGTH), ["the cats ab."])[0]
    explainer = load_explainer(explained_releases.make_release(tmp_path / "1", *made))
    explanation = explain(explainer, ["the cats ab."])[0]
    assert explanation.notes[0].startswith("The encoder is a sealed graph")
    assert before.notes == explanation.notes
    np.testing.assert_allclose(
        [word.occlusion for word in before.words],
        [word.occlusion for word in explanation.words],
        atol=2e-4,
    )
    assert (explanation.baseline, explanation.gap, explanation.attention) == (None, None, ())
    assert [word.contribution for word in explanation.words] == [None] * 4
    assert max(abs(word.occlusion) for word in explanation.words) > 0.01
    with pytest.raises(UsageError, match="sealed graph"):
        explainer.plan(["the"], ExplanationOptions(attention=AttentionChoice((1,))))
