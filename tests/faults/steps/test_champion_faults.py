"""A candidate is compared with the champion on the same rows; doubts about it close the gate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components import registry
from components.artifacts import manifest
from components.artifacts.predictions import PredictionsWriter, iterate_predictions
from components.artifacts.release import open_release
from components.storage.store import Store, open_store
from tests.support.releases.gate_inputs import ANSWERS, LABELS, TEXTS, answers, decide, make_report
from tests.support.releases.made_report import report_content
from tests.support.releases.word_rule import publish_rule, rule_release
from tests.support.training.tiny_checkpoint import CLASSES, make_shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gate") / "shards"
    make_shards(directory, LABELS, texts=TEXTS)
    return directory


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store whose one version is wrong about three of the ten test rows."""
    root = tmp_path_factory.mktemp("champion")
    publish_rule(open_store(str(root / "store")), root / "source", "key", answers(wrong=3))
    return root / "store"


@pytest.mark.parametrize(
    ("wrong", "passed", "words"),
    [(4, False, "is worse than"), (3, True, "equals"), (2, True, "is better than")],
    ids=["worse", "equal", "better"],
)
def test_a_candidate_is_compared_with_the_champion_on_the_same_rows(
    wrong: int, passed: bool, words: str, shards: Path, champion: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    found = decide(tmp_path, shards, make_report(tmp_path / "report", shards, wrong), champion)
    assert (found.passed, found.champion_version, found.champion_accuracy) == (passed, 1, 0.7)
    assert f"{words} the 0.7000 (7 rows) of the released version 1 on the same rows" in found.reason
    difference = found.champion_differences["accuracy"]
    assert difference.difference == pytest.approx((3 - wrong) / 10)
    assert difference.low < difference.difference < difference.high
    assert f"(difference {difference.difference:+.4f}, 95% interval" in found.reason
    assert found.failed_rules == (() if passed else ("champion",))


@pytest.mark.parametrize(
    ("wrong", "margin", "rule", "words"),
    [
        pytest.param(4, -0.1, "difference", "is worse than", id="as-much-worse-as-allowed"),
        pytest.param(4, -0.09, "difference", "", id="worse-than-allowed"),
        pytest.param(3, 0.1, "difference", "", id="not-better"),
        pytest.param(2, 0.1, "difference", "is better than", id="as-much-better-as-demanded"),
        pytest.param(1, 0.0, "interval", "", id="better-but-perhaps-by-chance"),
        pytest.param(4, -0.5, "interval", "is worse than", id="not-inferior"),
        pytest.param(4, -0.3, "interval", "", id="perhaps-inferior"),
    ],
)
def test_the_margin_says_how_far_the_champion_may_be(
    wrong: int, margin: float, rule: str, words: str, shards: Path, champion: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    report = make_report(tmp_path / "report", shards, wrong)
    found = decide(tmp_path, shards, report, champion, champion_margin=margin, champion_rule=rule)
    assert (found.passed, found.failed_rules) == (bool(words), () if words else ("champion",))
    if words:
        assert f"and {words} the 0.7000 (7 rows)" in found.reason
        assert (f"which champion_margin {margin:+.4f} allows" in found.reason) == (wrong == 4)
    else:
        part = "the difference" if rule == "difference" else "the lower end of the interval"
        assert f"): {part} does not reach champion_margin {margin:+.4f}." in found.reason


def test_the_decision_is_the_same_byte_by_byte_for_any_parts(
    shards: Path, champion: Path, tmp_path: Path
) -> None:
    decisions = []
    for parts in ([10], [3, 1, 6]):
        report = make_report(tmp_path / f"report-{len(parts)}", shards, wrong=2)
        (whole,) = iterate_predictions(report)
        labels, scores = whole.labels.copy(), whole.scores.copy()  # the file is written anew
        (report / "manifest.json").unlink()
        with PredictionsWriter(report) as predictions:
            for rows in np.split(np.arange(10), np.cumsum(parts)[:-1]):
                predictions.add(labels[rows], scores[rows], None)
        manifest.commit(report, "report", content={})
        decide(tmp_path, shards, report, champion)
        decisions.append((tmp_path / "out" / "decision.json").read_text())
    digests = [json.loads(each).pop("report_digest") for each in decisions]
    assert decisions[0].replace(digests[0], digests[1]) == decisions[1]


def test_a_champion_of_the_same_checkpoint_has_the_reports_accuracy(
    shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    rule_release(tmp_path / "source", answers(wrong=3))
    content = manifest.read_manifest(tmp_path / "source").content
    (tmp_path / "source" / "manifest.json").unlink()
    manifest.commit(
        tmp_path / "source",
        "release",
        content=content,
        inputs={"checkpoint": report_content().checkpoint_digest},
    )
    registry.publish(
        open_release(tmp_path / "source"), open_store(str(tmp_path / "store")), "news", "key"
    )
    report = make_report(tmp_path / "report", shards, wrong=2)
    found = decide(tmp_path, shards, report)
    assert (found.passed, found.champion_version, found.champion_accuracy) == (True, 1, 0.8)
    assert "equals the 0.8000 (8 rows) of the released version 1 on the same rows; " in found.reason
    assert found.champion_differences == {}
    assert decide(tmp_path, shards, report, champion_margin=0.5).passed
    (tmp_path / "store" / "news" / "1" / "saved_model.pb").write_bytes(b"evil")
    assert "cannot be compared with" in decide(tmp_path, shards, report).reason


def test_the_champion_is_the_version_of_a_rollback(shards: Path, tmp_path: Path) -> None:
    """Fault T3."""
    store: Store = open_store(str(tmp_path / "store"))
    publish_rule(store, tmp_path / "a", "a", answers(wrong=3))
    publish_rule(store, tmp_path / "b", "b", answers(wrong=0))
    registry.set_champion(store, "news", 1)
    found = decide(tmp_path, shards, make_report(tmp_path / "report", shards, wrong=2))
    assert (found.passed, found.champion_version) == (True, 1)


def test_classes_in_another_order_are_compared_by_name(shards: Path, tmp_path: Path) -> None:
    order = ("odd", "calm", "loud")
    theirs = {word: order.index(CLASSES[label]) for word, label in ANSWERS.items()}
    publish_rule(open_store(str(tmp_path / "store")), tmp_path / "a", "a", theirs, order)
    found = decide(tmp_path, shards, make_report(tmp_path / "report", shards, wrong=0))
    assert (found.passed, found.champion_accuracy) == (True, 1.0)


@pytest.mark.parametrize(
    "classes", [("calm", "loud"), ("calm", "loud", "strange")], ids=["fewer", "other"]
)
def test_a_champion_of_other_classes_closes_the_gate(
    classes: tuple[str, ...], shards: Path, tmp_path: Path
) -> None:
    """Fault T3."""
    publish_rule(open_store(str(tmp_path / "store")), tmp_path / "a", "a", {}, classes)
    found = decide(tmp_path, shards, make_report(tmp_path / "report", shards, wrong=0))
    assert not found.passed
    assert "release the candidate under another export.model_name" in found.reason


def test_a_changed_champion_closes_the_gate(shards: Path, champion: Path, tmp_path: Path) -> None:
    """Fault T3."""
    publish_rule(open_store(str(tmp_path / "store")), tmp_path / "a", "a", {})
    (tmp_path / "store" / "news" / "1" / "saved_model.pb").write_bytes(b"evil")
    found = decide(tmp_path, shards, make_report(tmp_path / "report", shards, wrong=0))
    assert not found.passed
    assert "the released version 1 cannot be compared with" in found.reason
