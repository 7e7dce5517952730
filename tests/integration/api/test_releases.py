"""Releases in the Python API, on a real registry with a real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kubert
from components.serving.predict import predict
from tests.support.releases.served_release import publish_release


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    publish_release(root, seed=3)
    return root / "models"


@pytest.fixture(scope="module")
def release(store: Path) -> kubert.Release:
    return kubert.load_release(store / "news")


def test_a_release_predicts_as_the_command_does(release: kubert.Release) -> None:
    expected = list(predict(str(release.directory), ["w1 w2", "w3"]))
    assert release.predict(["w1 w2", "w3"]) == expected
    assert release.predict("w1 w2").scores == pytest.approx(expected[0].scores, abs=1e-6)
    assert release.predict(iter(["w3"]))[0].label == expected[1].label
    assert release.predict([]) == []


def test_a_release_explains_one_text_or_several(release: kubert.Release) -> None:
    one = release.explain("w1 w2", layers="all", heads=[1])
    assert one.label == release.predict("w1 w2").label
    assert [word.text for word in one.words] == ["w1", "w2"]
    assert {each.head for each in one.attention} == {1}
    assert one._repr_html_().startswith('<div class="kx">')
    several = release.explain(["w1", "w2"], "odd", steps=4, layers=[])
    assert [(each.text, each.target, each.steps) for each in several] == [
        ("w1", "odd", 4), ("w2", "odd", 4),
    ]  # fmt: skip
    by_number = release.explain("w1", layers=1, heads="1,2", steps=2)
    assert [(each.layer, each.head) for each in by_number.attention] == [(1, 1), (1, 2)]
    assert release.explain("w1", layers="none", steps=1).attention == ()
    with pytest.raises(kubert.UsageError, match="target=none"):
        release.explain("w1", "none")


@pytest.mark.parametrize(
    ("name", "arguments", "options", "message"),
    [
        pytest.param("predict", [None], {}, "texts: .* not None", id="predict-none"),
        pytest.param("predict", [3], {}, "texts: .* not int", id="predict-number"),
        pytest.param("predict", [b"abc"], {}, "texts: .* not bytes", id="predict-bytes"),
        pytest.param("explain", ["w1"], {"layers": "foo"}, "layers foo", id="layers"),
        pytest.param("explain", ["w1"], {"steps": 1.5}, "steps=1.5", id="steps"),
        pytest.param("explain", ["w1", 3], {}, "target=3", id="target"),
        pytest.param("explain", [[("w1", "w2")]], {}, "texts.0.: .* not tuple", id="pairs"),
        pytest.param("score", ["x.csv", "y"], {"file_format": "xml"}, "file_format", id="format"),
        pytest.param("score", ["x.csv", "y"], {"workers": -1}, "workers=-1", id="workers"),
        pytest.param("score", ["x.csv", "y"], {"options": ["a"]}, "options: ", id="options"),
        pytest.param("score", ["x.csv", "y"], {"show": "x"}, "show: ", id="show"),
    ],
)
def test_a_mistake_in_an_argument_names_it(
    release: kubert.Release, name: str, arguments: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(kubert.UsageError, match=message):
        getattr(release, name)(*arguments, **options)


def test_a_release_scores_the_rows_of_a_file(
    release: kubert.Release, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("id,text\n1,w1 w2\n2,w3\n", encoding="utf-8")
    done = release.score(
        source, tmp_path / "scored", text="text", keep="id", file_format="csv", workers=0
    )
    assert capfd.readouterr().out == ""
    assert repr(done) == f"<BatchPrediction 2 rows: {tmp_path}/scored/predictions.csv>"
    lines = Path(done.file).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "id,label,score"
    labels = [each.label for each in release.predict(["w1 w2", "w3"])]
    assert [line.split(",")[:2] for line in lines[1:]] == [["1", labels[0]], ["2", labels[1]]]
    with pytest.raises(kubert.UsageError, match=r"options: train\.epochs.* only options of `data`"):
        release.score(str(source), tmp_path / "x", options={"train.epochs": 1})
    with pytest.raises(
        kubert.UsageError, match=r"options: data\.source.* name the texts by source"
    ):
        release.score(str(source), tmp_path / "x", options={"data.source": "other.csv"})


def test_a_release_says_what_it_is(release: kubert.Release) -> None:
    assert repr(release) == f"<Release news@1 {release.digest[:12]}>"
    assert release.classes == release.content.classes
    assert release.digest in release._repr_html_()


def test_models_lists_stores_and_versions_and_pull_downloads(store: Path, tmp_path: Path) -> None:
    assert [row["name"] for row in kubert.models(str(store))] == ["news"]
    assert [row["version"] for row in kubert.models(str(store / "news"))] == [1]
    pulled = kubert.pull(store / "news", tmp_path / "served")
    assert pulled.directory == tmp_path / "served" / "1"
    assert pulled.content.name == "news"


def test_what_is_not_there_is_a_documented_error(store: Path) -> None:
    with pytest.raises(kubert.DataError, match="nothing is released under this name"):
        kubert.load_release(store / "other")
    with pytest.raises(kubert.DataError, match="nothing is released here"):
        kubert.models(str(store / "other"))
