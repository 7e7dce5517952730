from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.batch_prediction.request import BatchPredictionRequest
from components.batch_prediction.step import run
from components.batch_prediction.target import STATE_DIRECTORY, Target, lock_target
from components.config.cluster import ClusterConfig
from components.config.data import DataConfig
from components.errors import ConfigError, DataError, KubertError, UsageError
from components.scoring import job as jobs
from components.storage.store import Store, open_store
from tests.support.releases.word_rule import rule_release
from tests.support.stores.object_stores import StorageLocation

ROWS = 40
HEADER = "id,text\n"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rule_release(tmp_path_factory.mktemp("releases") / "rule", {"w1": 1, "w2": 2})


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of 16 rows: small models spend their time on starting."""
    monkeypatch.setattr(jobs, "MIN_UNIT_ROWS", 16)
    monkeypatch.setattr(jobs, "_UNIT_STEP", 16)


@pytest.fixture
def make_request(release: Path, tmp_path: Path) -> Callable[..., BatchPredictionRequest]:
    source = tmp_path / "in" / "texts.csv"
    source.parent.mkdir()
    source.write_text(HEADER + "".join(f"{n:03d},w{n % 3} text {n}\n" for n in range(ROWS)))

    def make(**changes: Any) -> BatchPredictionRequest:
        options = {"source": str(source), "text": "text"} | changes.pop("data", {})
        values = {
            "release": str(release),
            "data": DataConfig(**options),
            "to": str(tmp_path / "out"),
            "format": "jsonl",
            "keep": ("id",),
            "workers": 0,
        }
        return BatchPredictionRequest(**(values | changes))

    return make


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_come_in_the_sources_order_with_the_kept_columns(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    done = run(make_request())
    lines = read_lines(tmp_path / "out" / "predictions.jsonl")
    assert [line["id"] for line in lines] == [f"{n:03d}" for n in range(ROWS)]
    assert [line["label"] for line in lines] == [
        ("calm", "loud", "odd")[n % 3] for n in range(ROWS)
    ]
    assert [*lines[0]] == ["id", "label", "score"] and 0.5 < lines[0]["score"] < 1
    assert (done.created, done.content.rows) == (True, ROWS)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "manifest.json",
        "predictions.jsonl",
    ]


def test_every_format_has_the_same_rows(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    for name in ("parquet", "csv", "jsonl"):
        run(make_request(format=name, to=str(tmp_path / name), all_scores=True))
    lines = read_lines(tmp_path / "jsonl" / "predictions.jsonl")
    assert [*lines[0]] == ["id", "label", "score", "score_calm", "score_loud", "score_odd"]
    with (tmp_path / "csv" / "predictions.csv").open(newline="") as stream:
        fields = [*csv.DictReader(stream)]
    assert fields == [{name: str(value) for name, value in line.items()} for line in lines]
    table = pq.read_table(tmp_path / "parquet" / "predictions.parquet")
    assert table.column_names == [*lines[0]]
    assert table["label"].to_pylist() == [line["label"] for line in lines]
    assert table["score_odd"].type == pa.float32()


def test_embeddings_are_written_instead_of_scores(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    run(make_request(embeddings=True, format="parquet"))
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert table.column_names == ["id", "embedding"]
    assert table["embedding"][1].as_py() == [0.0, 4.0, 0.0]  # the logits of a word rule


def test_columns_of_parquet_files_keep_their_types(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    table = pa.table(
        {"id": pa.array([7, None], pa.int32()), "ok": [True, False], "text": ["w1", "w2"]}
    )
    pq.write_table(table, tmp_path / "typed.parquet")
    run(
        make_request(
            data={"source": str(tmp_path / "typed.parquet")}, format="parquet", keep=("id", "ok")
        )
    )
    written = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert written.select(["id", "ok"]).to_pylist() == table.select(["id", "ok"]).to_pylist()
    assert written.schema.field("id").type == pa.int32()


def test_rejected_rows_are_listed_and_shift_no_other_row(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    source = tmp_path / "bad.csv"
    bad = {3: "003, \n", 17: "017,w1,too many\n", 20: "020,\n"}
    rows = [bad.get(n, f"{n:03d},w{n % 3} text\n") for n in range(ROWS)]
    source.write_text(HEADER + "".join(rows))
    done = run(make_request(data={"source": str(source), "max_bad_rows": 3}))
    lines = read_lines(tmp_path / "out" / "predictions.jsonl")
    labels = {line["id"]: line["label"] for line in lines}
    assert labels == {
        f"{n:03d}": ("calm", "loud", "odd")[n % 3] for n in range(ROWS) if n not in bad
    }
    rejected = read_lines(tmp_path / "out" / "rejected.jsonl")
    assert [(line["row"], line["line"]) for line in rejected] == [(4, 5), (18, 19), (21, 22)]
    assert {line["file"] for line in rejected} == {str(source)}
    assert rejected[0]["columns"] == "text" and rejected[0]["reason"] == "blank text"
    assert sum(done.content.rejected.values()) == 3


def test_the_same_request_again_does_nothing(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    run(make_request())
    before = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    assert run(make_request()).created is False
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == before
    assert not (tmp_path / "out" / STATE_DIRECTORY).exists()


def test_an_output_that_was_removed_is_made_again(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    run(make_request())
    path = tmp_path / "out" / "predictions.jsonl"
    content = path.read_bytes()
    path.unlink()
    assert run(make_request()).created is True
    assert path.read_bytes() == content


def test_an_output_that_was_changed_is_refused_and_left_alone(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    run(make_request())
    path = tmp_path / "out" / "predictions.jsonl"
    path.write_text("corrected by hand")
    with pytest.raises(DataError, match=r"predictions\.jsonl: was changed since; remove it, or"):
        run(make_request())
    with pytest.raises(DataError, match=r"another request \(score\.keep differ\)"):
        run(make_request(keep=()))
    assert path.read_text() == "corrected by hand"


@pytest.mark.parametrize("name", ["predictions.jsonl", "predictions.parquet", "rejected.jsonl"])
def test_a_file_that_is_no_output_is_refused_and_left_alone(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir()
    path.write_text("from elsewhere")
    with pytest.raises(DataError, match=rf"{name}: no manifest says .* remove it, or name another"):
        run(make_request())
    assert [*path.parent.iterdir()] == [path] and path.read_text() == "from elsewhere"


def test_an_output_without_rejected_rows_leaves_no_list_of_them(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    source = tmp_path / "in" / "texts.csv"
    good = source.read_text()
    source.write_text(good + "040,\n")
    run(make_request(data={"max_bad_rows": 1}))
    (tmp_path / "out" / "predictions.jsonl").unlink()
    source.write_text(good)
    run(make_request(data={"max_bad_rows": 1}))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "manifest.json",
        "predictions.jsonl",
    ]


def test_files_of_an_attempt_that_stopped_before_its_manifest_are_replaced(
    make_request: Callable[..., BatchPredictionRequest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Store.write

    def stop_at_manifest(store: Store, key: str, data: bytes) -> None:
        if key == "manifest.json":
            raise KeyboardInterrupt
        write(store, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", stop_at_manifest)
        with pytest.raises(KeyboardInterrupt):
            run(make_request())
    assert (tmp_path / "out" / "predictions.jsonl").exists()
    assert run(make_request(format="csv")).created is True
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "manifest.json",
        "predictions.csv",
    ]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        pytest.param({"keep": ()}, r"score\.keep", id="columns"),
        pytest.param({"all_scores": True}, r"score\.all_scores", id="scores"),
        pytest.param({"data": {"text": ("id", "text")}}, r"data\.text", id="text"),
    ],
)
def test_the_output_of_another_request_is_not_replaced(
    make_request: Callable[..., BatchPredictionRequest], changes: dict[str, Any], names: str
) -> None:
    run(make_request())
    with pytest.raises(DataError, match=rf"the output of another request \({names} differ\)"):
        run(make_request(**changes))


def test_the_target_may_be_in_object_storage(
    make_request: Callable[..., BatchPredictionRequest], storage_location: StorageLocation
) -> None:
    run(make_request(to=f"{storage_location.uri}/scored"))
    store = open_store(storage_location.uri)
    assert store.list("scored") == ["scored/manifest.json", "scored/predictions.jsonl"]
    assert run(make_request(to=f"{storage_location.uri}/scored")).created is False


# What is refused before anything is scored: the release is not even opened by TensorFlow.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "holds no rows|empty", id="empty"),
        pytest.param(HEADER, "no rows", id="header-only"),
        pytest.param(HEADER + "1,\n2, \n", "2 rows rejected, data.max_bad_rows allows 0", id="bad"),
        pytest.param("id,body\n1,w1\n", "no column 'text'; columns: 'id', 'body'", id="column"),
    ],
)
def test_a_source_that_cannot_be_scored_is_refused_and_leaves_nothing(
    make_request: Callable[..., BatchPredictionRequest],
    tmp_path: Path,
    content: str,
    message: str,
) -> None:
    (tmp_path / "in" / "texts.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        run(make_request())
    assert not (tmp_path / "out").exists()


def test_a_source_of_bad_rows_only_is_refused_whatever_the_limit(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    (tmp_path / "in" / "texts.csv").write_text(HEADER + "1,\n2,\n")
    with pytest.raises(DataError, match="nothing to score, 2 x blank text"):
        run(make_request(data={"max_bad_rows": 9}))


def test_a_kept_column_that_does_not_exist_is_named(
    make_request: Callable[..., BatchPredictionRequest],
) -> None:
    with pytest.raises(DataError, match="no column 'key'"):
        run(make_request(keep=("key",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"embeddings": True, "all_scores": True}, "score.all_scores", id="both"),
        pytest.param({"embeddings": True, "format": "csv"}, "no CSV field", id="csv-vector"),
        pytest.param({"keep": ("label",)}, "two columns .* 'label'", id="name-twice"),
        pytest.param({"to": "x/scored.csv"}, "score.to x and ", id="file-as-target"),
        pytest.param({"to": ""}, "score.to '': is empty", id="no-target"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    make_request: Callable[..., BatchPredictionRequest], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(make_request(**changes))


@pytest.mark.parametrize("source", ["in", "in/*", "in/predictions.jsonl"])
def test_an_output_that_would_become_a_part_of_the_source_is_refused(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path, source: str
) -> None:
    with pytest.raises(UsageError, match="would be read as a part of the source"):
        run(make_request(data={"source": str(tmp_path / source)}, to=str(tmp_path / "in")))


@pytest.mark.parametrize(
    ("source", "to"),
    [
        pytest.param("link", "in", id="source"),
        pytest.param("in/*.jsonl", "link", id="target-of-a-pattern"),
        pytest.param("link/*.jsonl", "in", id="pattern"),
        pytest.param("old.jsonl", "in", id="file"),
    ],
)
def test_symbolic_links_between_source_and_output_are_followed(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path, source: str, to: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "old.jsonl").symlink_to(tmp_path / "in" / "predictions.jsonl")
    with pytest.raises(UsageError, match="would be read as a part of the source"):
        run(make_request(data={"source": str(tmp_path / source)}, to=str(tmp_path / to)))


def test_two_scorers_of_one_target_at_once_are_refused(
    make_request: Callable[..., BatchPredictionRequest], tmp_path: Path
) -> None:
    with (
        lock_target(Target(str(tmp_path / "out"))),
        pytest.raises(KubertError, match="another `kubert score` is writing there"),
    ):
        run(make_request())


def test_pods_need_uris(make_request: Callable[..., BatchPredictionRequest]) -> None:
    with pytest.raises(ConfigError, match="pods cannot reach it"):
        run(make_request(), ClusterConfig(backend="jobset"))
