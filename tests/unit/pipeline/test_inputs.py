from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.config.loading import load_config
from components.errors import ConfigError
from pipeline.local import inputs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "news.csv").write_text("title,description,label\na,b,c\n")
    return tmp_path


def test_relative_paths_become_absolute(here: Path) -> None:
    (here / "bert").mkdir()
    found = inputs.resolve_paths(
        load_config(
            None, ["data.source=news.csv", "data.test_source=./news.csv", "model.encoder=hf:bert"]
        ),
        here / "work",
    )
    assert (found.data.source, found.data.test_source) == (
        str(here / "news.csv"),
        str(here / "news.csv"),
    )
    assert found.model.encoder == f"hf:{here / 'bert'}"
    assert found.export.model_store == str(here / "work" / "models")


@pytest.mark.parametrize(
    "source", ["sample", "tfds:ag_news_subset", "gs://bucket/news.csv", "s3://bucket/news.csv"]
)
def test_what_is_no_local_path_stays(here: Path, source: str) -> None:
    config = load_config(
        None,
        [
            f"data.source={source}",
            "model.encoder=hf:google/bert",
            "export.model_store=gs://bucket/models",
        ],
    )
    found = inputs.resolve_paths(config, here)
    assert (found.data.source, found.model.encoder, found.export.model_store) == (
        source,
        "hf:google/bert",
        "gs://bucket/models",
    )


def test_a_release_to_begin_with_is_below_the_work_directory_as_the_model_store_is(
    here: Path,
) -> None:
    config = load_config(None, ["model.start_from=models/news@3"])
    assert inputs.resolve_paths(config, here).model.start_from == str(here / "models" / "news@3")
    remote = load_config(None, ["model.start_from=gs://bucket/models/news"])
    assert inputs.resolve_paths(remote, here).model.start_from == "gs://bucket/models/news"
    with pytest.raises(ConfigError, match=r"^model\.start_from: "):
        inputs.resolve_paths(load_config(None, ["model.start_from=ftp://x/models/news"]), here)


def test_a_missing_file_is_named_with_where_it_was_looked_for(here: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"data\.test_source: {here}/nope\.csv does not exist; .*{here}"
    ):
        inputs.resolve_paths(load_config(None, ["data.test_source=nope.csv"]), here)


@pytest.mark.parametrize("store", ["ftp://host/models", "gs://bucket/../models"])
def test_an_invalid_model_store_is_refused_before_anything_is_trained(
    here: Path, store: str
) -> None:
    with pytest.raises(ConfigError, match=r"^export\.model_store: \w+://.*; "):
        inputs.resolve_paths(load_config(None, [f"export.model_store={store}"]), here)


def test_the_day_in_a_source_is_filled_in_and_looked_for(here: Path) -> None:
    (here / "2026-01-31.csv").write_text("title,description,label\na,b,c\n")
    found = inputs.resolve_paths(
        load_config(None, ["data.source=./{date}.csv", "data.end_time=2026-01-31T05:00:00Z"]), here
    )
    assert found.data.source == str(here / "2026-01-31.csv")
    with pytest.raises(ConfigError, match=r"data\.source: .*2026-02-01\.csv does not exist"):
        inputs.resolve_paths(
            load_config(None, ["data.source=./{date}.csv", "data.end_time=2026-02-01"]), here
        )
    with pytest.raises(ConfigError, match=r"data\.window: 7d has no end"):
        inputs.resolve_paths(
            load_config(
                None, ["data.source=news.csv", "data.time_column=created", "data.window=7d"]
            ),
            here,
        )


def fingerprint(*assignments: str) -> str:
    return inputs.compute_fingerprint(
        inputs.resolve_paths(load_config(None, assignments), Path("work").absolute())
    )


def test_the_fingerprint_follows_the_content_and_nothing_else(here: Path) -> None:
    before = fingerprint("data.source=news.csv")
    os.utime(here / "news.csv", (1, 1))
    assert fingerprint("data.source=news.csv") == before
    (here / "news.csv").write_text("title,description,label\na,b,d\n")
    assert fingerprint("data.source=news.csv") != before


def test_an_encoders_directory_counts(here: Path) -> None:
    (here / "bert").mkdir()
    (here / "bert" / "vocab.txt").write_text("a")
    before = fingerprint("model.encoder=hf:bert")
    assert fingerprint("model.encoder=hf:bert") == before
    (here / "bert" / "vocab.txt").write_text("ab")
    assert fingerprint("model.encoder=hf:bert") != before


def test_what_may_change_unseen_is_never_the_same(here: Path) -> None:
    assert fingerprint("data.source=gs://bucket/news.csv") != fingerprint(
        "data.source=gs://bucket/news.csv"
    )
    assert fingerprint("data.source=sample") == fingerprint("data.source=sample")


def test_a_release_that_only_the_current_directory_has_is_not_started_without(here: Path) -> None:
    (here / "work" / "models" / "news").mkdir(parents=True)
    for given in ("work/models/news", "work/models/news@1"):
        config = load_config(None, [f"model.start_from={given}"])
        with pytest.raises(ConfigError, match=f"write {here.absolute()}/{given}$"):
            inputs.resolve_paths(config, here / "work")
    config = load_config(None, ["model.start_from=models/news"])
    found = inputs.resolve_paths(config, here / "work").model.start_from
    assert found == str(here / "work" / "models" / "news")
