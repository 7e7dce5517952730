"""What cannot work is refused before a step starts, and what the steps accept is accepted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.config.loading import validate_config
from components.config.schema import ExportConfig
from components.data import source_validation
from components.errors import ConfigError, DataError
from components.input_validation import validate_inputs, validate_start
from tests.support.training import tiny_bert

ROWS = "title,description,label\n" + "".join(
    f"title {number},text {number},{'ab'[number % 2]}\n" for number in range(40)
)


def write(path: Path, text: str = ROWS) -> str:
    path.write_text(text)
    return str(path)


def validate(tmp_path: Path, **sections: Any) -> list[str]:
    store = {"model_store": str(tmp_path / "models")}
    return validate_inputs(validate_config({"export": store, **sections}))


def error_of(tmp_path: Path, **sections: Any) -> str:
    with pytest.raises((ConfigError, DataError)) as caught:
        validate(tmp_path, **sections)
    return str(caught.value)


@pytest.fixture(params=["read-in-full", "first-rows"])
def any_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same source, once as a small one and once as a large one."""
    if request.param == "first-rows":
        monkeypatch.setattr(source_validation, "MAX_BYTES_READ_IN_FULL", 0)


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        pytest.param("a.csv", ROWS, {"label": "team"}, "no column 'team'", id="label"),
        pytest.param(
            "a.csv", ROWS, {"text": "body"}, "no column 'body'; columns: 'title'", id="text"
        ),
        pytest.param(
            "a.csv",
            ROWS,
            {"time_column": "day", "end_time": "2026-01-01"},
            "no column 'day'",
            id="time",
        ),
        pytest.param(
            "a.csv",
            ROWS,
            {"text": ["title", "label"]},
            "data.text and data.label both name the column 'label'",
            id="label-in-the-text",
        ),
        pytest.param(
            "a.csv",
            ROWS,
            {"text_pair": ["title", "label"]},
            "data.text_pair and data.label both name the column 'label'",
            id="label-in-the-pair",
        ),
        pytest.param(
            "a.csv",
            ROWS,
            {"header": False, "text": [0, 2], "label": 2},
            "data.text and data.label both name the column '2'",
            id="numbered-label-in-the-text",
        ),
        pytest.param("a.xlsx", "PK\x03\x04", {}, "is an Excel or Word file", id="kind"),
        pytest.param("a.doc", ROWS, {}, "cannot tell the format from the name", id="format"),
        pytest.param("a.csv", "", {}, "the file is empty", id="empty"),
        pytest.param("a.csv", ROWS + "x,y\n", {}, "1 rows rejected", id="a-malformed-row"),
        pytest.param(
            "a.jsonl",
            '{"title": "x", "description": "y"}\n' * 9,
            {},
            "no column 'label'",
            id="json",
        ),
        pytest.param(
            "a.jsonl", '{"label": "x"}\n' * 9, {}, "no column 'description'", id="json-text"
        ),
    ],
)
@pytest.mark.usefixtures("any_size")
def test_a_source_that_cannot_be_read_as_configured_is_refused(
    name: str, text: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = write(tmp_path / name, text)
    assert message in error_of(tmp_path, data={"source": source, **options})
    good = write(tmp_path / "good.csv")
    if not options and "format" not in message:
        assert message in error_of(tmp_path, data={"source": good, "test_source": source})


@pytest.mark.usefixtures("any_size")
def test_usable_sources_are_accepted_also_with_rows_that_lack_a_text_column(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"title": f"t {n}", "label": "ab"[n % 2]}) + "\n" for n in range(40))
    last = json.dumps({"title": "t", "description": "d", "label": "a"})
    for source in (write(tmp_path / "a.csv"), write(tmp_path / "a.jsonl", rows + last), "sample"):
        assert validate(tmp_path, data={"source": source}) == []


def test_what_hubs_and_object_stores_have_is_left_to_the_steps(tmp_path: Path) -> None:
    assert validate(
        tmp_path,
        data={"source": ["gs://b/a.csv", write(tmp_path / "a.csv")], "test_source": "tfds:news"},
        model={"encoder": "hf:owner/bert"},
    ) == ["gs://b/a.csv", "tfds:news", "hf:owner/bert"]
    bad = write(tmp_path / "bad.csv", "x,y\n1,2\n")
    assert "no column" in error_of(tmp_path, data={"source": ["gs://b/a.csv", bad]})


def test_encoders_of_this_machine_are_checked(tmp_path: Path) -> None:
    bert = tiny_bert.write(tmp_path / "bert")
    model = {"encoder": f"hf:{bert}", "max_length": 16}
    assert validate(tmp_path, model=model) == []
    assert "has only 20 positions" in error_of(tmp_path, model={**model, "max_length": 21})
    weights = bert / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "not a readable safetensors file" in error_of(tmp_path, model=model)
    assert "there is no directory" in error_of(tmp_path, model={"encoder": "hf:/nowhere/bert"})
    assert "holds no saved_model.pb" in error_of(tmp_path, model={"encoder": f"hub:{bert}"})


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    store = write(tmp_path / "file")
    message = error_of(tmp_path, export={"model_store": store})
    assert message.startswith(f"export.model_store: {store}: not writable")


def test_neither_tensorflow_nor_pyarrow_is_imported() -> None:
    code = (
        "import sys; from components.input_validation import validate_inputs; "
        "from components.config.loading import load_config; validate_inputs(load_config(None, []));"
        "print(*{'tensorflow', 'pyarrow', 'huggingface_hub'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.usefixtures("any_size")
def test_a_column_that_none_of_many_json_rows_has_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", '{"title": "x", "team": "y"}\n' * 3000)
    assert "no column 'label'; columns: 'title', 'team'" in error_of(
        tmp_path, data={"source": source, "text": "title"}
    )


def test_nothing_released_is_an_error_unless_the_run_releases_under_that_name(
    tmp_path: Path,
) -> None:
    """Fault E6."""
    export = ExportConfig(model_store=str(tmp_path / "models"), model_name="news")
    validate_start(f"{tmp_path}/models/news", export)
    validate_start("gs://bucket/models/other", export)
    with pytest.raises(ConfigError, match=r"nothing is released as .*/other; rel"):
        validate_start(f"{tmp_path}/models/other", export)
    with pytest.raises(DataError, match="no version 2"):
        validate_start(f"{tmp_path}/models/news@2", export)
