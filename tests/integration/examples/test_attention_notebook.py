"""`attention.ipynb`: all of it runs, with the results of its text; its outputs are of its cells."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import nbformat
import pytest

import kubert
from docs.execute_notebook import (
    NotebookOutputError,
    clean_outputs,
    execute_notebook,
    hash_code,
    read_notebook,
)

ATTENTION = Path(__file__).parents[3] / "examples" / "attention.ipynb"
MAX_BYTES = 1_000_000
MODELS = [
    "Transformer from scratch",
    "TF-Hub BERT, frozen",
    "TF-Hub BERT, fine-tuned",
    "Hugging Face BERT, fine-tuned",
]
RESULTS = """
import json

print(json.dumps({
    "table": table,
    "difference": difference,
    "orders": [unordered, ordered],
    "shift": measure_shift(chicken, best, "chicken", "road"),
    "peaks": {"meant": meant.max(), "counted": counted.max(), "course": course.max()},
    "rate": settings.learning_rate,
    "batch_size": settings.batch_size,
    "warmup_fraction": settings.warmup_fraction,
    "accuracies": [runs[TUNED].accuracy, slow.accuracy],
    "wrong": [error.label, error.predicted],
}))
"""
AG_NEWS_ROWS = '"3","Oil falls","Prices fell on Monday"\n"2","Late goal","The striker scored"\n'


@pytest.fixture(scope="module")
def stored_notebook() -> Any:
    return read_notebook(ATTENTION)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def append_code(notebook: Any, source: str) -> None:
    notebook.cells.append(nbformat.v4.new_code_cell(source))


def printed_json(notebook: Any) -> Any:
    """What the last cell printed."""
    return json.loads(notebook.cells[-1].outputs[-1].text)


def test_the_stored_outputs_are_of_the_stored_cells(stored_notebook: Any) -> None:
    cells = code_cells(stored_notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert stored_notebook.metadata.kubert.code_sha256 == hash_code(stored_notebook), (
        "run `make notebook`"
    )


def test_other_cells_have_another_digest() -> None:
    notebook = read_notebook(ATTENTION)
    digest = hash_code(notebook)
    code_cells(notebook)[0].source += "\nDATA = '.'"
    assert hash_code(notebook) != digest


def test_the_file_is_small_and_names_no_machine(stored_notebook: Any) -> None:
    text = ATTENTION.read_text(encoding="utf-8")
    assert len(text) < MAX_BYTES
    assert re.search(r"/(home|root|var|tmp|work|Users|usr)/", text) is None
    assert re.search(r"\b0x[0-9a-f]{8,}\b", text) is None
    assert set(stored_notebook.metadata) == {"kernelspec", "language_info", "kubert"}


def test_the_stored_outputs_have_the_tables_and_the_pictures(stored_notebook: Any) -> None:
    outputs = [output for cell in code_cells(stored_notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    shown = [output.data for output in outputs if "data" in output]
    pictures = [data["image/svg+xml"] for data in shown if "image/svg+xml" in data]
    assert len(pictures) == 3
    for picture in pictures:
        assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    tables = "\n".join(data.get("text/markdown", "") for data in shown)
    assert all(f"| {name} |" in tables for name in MODELS)
    assert sum('<div class="kx">' in data.get("text/html", "") for data in shown) == 2


def test_a_path_of_this_machine_in_an_output_is_refused(tmp_path: Path) -> None:
    notebook = read_notebook(ATTENTION)
    output = nbformat.v4.new_output("stream", text=f"{tmp_path}/a")
    code_cells(notebook)[0].outputs = [output]
    with pytest.raises(NotebookOutputError, match=f"an output has the path {tmp_path}"):
        clean_outputs(notebook, tmp_path)


def test_the_outputs_of_standard_error_are_left_out(tmp_path: Path) -> None:
    notebook = read_notebook(ATTENTION)
    notebook.cells = []
    append_code(notebook, "import sys\nprint('shown')\nprint('hidden', file=sys.stderr)")
    execute_notebook(notebook, tmp_path)
    clean_outputs(notebook, tmp_path)
    (output,) = notebook.cells[0].outputs
    assert (output.name, output.text) == ("stdout", "shown\n")
    assert notebook.cells[0].metadata == {}


@pytest.mark.slow
def test_with_a_directory_the_models_are_those_of_ag_news(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text(AG_NEWS_ROWS, encoding="utf-8")
    (tmp_path / "hub-encoder").mkdir()  # nothing is exported
    notebook = read_notebook(ATTENTION)
    (first, *_) = code_cells(notebook)
    first.source += f"\nDATA = {str(tmp_path)!r}"
    notebook.cells = [cell for cell in notebook.cells if cell.id in ("switches", "models")]
    append_code(notebook, "import json\nprint(json.dumps(CONFIGS))")
    execute_notebook(notebook, tmp_path)
    configs = printed_json(notebook)
    assert list(configs) == MODELS
    settings = {name: kubert.load_settings(*config) for name, config in configs.items()}
    for each in settings.values():
        assert each.data.source == f"{tmp_path}/train.csv"
        assert each.data.test_source == f"{tmp_path}/test.csv"
        assert each.data.classes == ("World", "Sports", "Business", "Sci/Tech")
    assert settings[MODELS[0]].train.epochs == 4  # as in the shipped configuration
    assert settings[MODELS[1]].model.freeze


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(2400)
def test_all_cells_run_in_a_new_kernel_with_the_results_that_the_text_describes(
    tmp_path: Path,
) -> None:
    notebook = read_notebook(ATTENTION)
    append_code(notebook, RESULTS)
    execute_notebook(notebook, tmp_path)
    found = printed_json(notebook)

    assert [row["model"] for row in found["table"]] == MODELS
    for row in found["table"]:
        assert 0.6 < row["low"] < row["accuracy"] < row["high"] <= 1
        assert 0 < row["training"] < row["run"]
    accuracies = {row["model"]: row["accuracy"] for row in found["table"]}
    assert accuracies["TF-Hub BERT, frozen"] > accuracies["Transformer from scratch"]
    assert accuracies["TF-Hub BERT, fine-tuned"] > accuracies["TF-Hub BERT, frozen"]
    assert abs(accuracies["TF-Hub BERT, fine-tuned"] - accuracies[MODELS[3]]) < 0.04

    assert found["difference"] < 1e-5
    unordered, ordered = found["orders"]
    assert unordered < 1e-3 < 0.3 < ordered
    assert found["shift"] > 0.3

    peaks = {name: peak / found["rate"] for name, peak in found["peaks"].items()}
    share = 1 / (found["batch_size"] * found["warmup_fraction"])
    assert 0.85 < peaks["meant"] <= 1
    assert peaks["counted"] == pytest.approx(share, rel=0.05)
    assert peaks["course"] == pytest.approx(0.026, rel=0.01)
    tuned, slow = found["accuracies"]
    assert tuned - slow > 0.2
    assert found["wrong"][0] != found["wrong"][1]
    assert not (tmp_path / ".kubert" / "models" / "course-schedule").exists()
    assert (tmp_path / "pipeline.yaml").is_file()
