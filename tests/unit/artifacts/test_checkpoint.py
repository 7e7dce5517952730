from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.artifacts import checkpoint, manifest
from components.errors import ConfigError, DataError


def save(root: Path, *steps: int) -> None:
    for step in steps:
        with manifest.staged_artifact(checkpoint.checkpoint_directory(root, step)) as directory:
            (directory / "tensors").write_text(f"weights of step {step}")
            manifest.commit(directory, "checkpoint", content={"step": step})


def steps(root: Path) -> list[int]:
    return [step for step, _ in checkpoint.list_periodic_checkpoints(root)]


def test_without_checkpoints_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.find_newest_valid_checkpoint(tmp_path / "never") is None
    assert checkpoint.find_newest_valid_checkpoint(tmp_path) is None


def test_the_newest_is_used_whatever_the_order_they_were_written_in(tmp_path: Path) -> None:
    save(tmp_path, 1000, 30, 200)
    found = checkpoint.find_newest_valid_checkpoint(tmp_path)
    assert found is not None
    assert (found[0], found[1].name, found[2].content, found[3]) == (
        1000,
        "step-000001000",
        {"step": 1000},
        [],
    )
    assert steps(tmp_path) == [1000, 200, 30]


@pytest.mark.parametrize(
    "text",
    ["", 'model_checkpoint_path: "step-000000001/tensors"', "\x00"],
    ids=["empty", "older", "garbage"],
)
def test_tensorflows_pointer_file_is_not_used(text: str, tmp_path: Path) -> None:
    """Fault C2."""
    save(tmp_path, 1, 2)
    (tmp_path / "checkpoint").write_text(text)
    found = checkpoint.find_newest_valid_checkpoint(tmp_path)
    assert found is not None
    assert found[0] == 2


def test_damaged_checkpoints_are_set_aside_and_named(tmp_path: Path) -> None:
    """Fault C3."""
    save(tmp_path, 1, 2, 3)
    os.truncate(tmp_path / "step-000000003" / "tensors", 2)
    (tmp_path / "step-000000002" / manifest.MANIFEST_FILENAME).unlink()
    found = checkpoint.find_newest_valid_checkpoint(tmp_path)
    assert found is not None
    step, _, _, complaints = found
    assert step == 1
    assert "step-000000003/tensors: 2 bytes" in complaints[0]
    assert "step-000000002: no manifest.json" in complaints[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bad-step-000000002",
        "bad-step-000000003",
        "step-000000001",
    ]
    again = checkpoint.find_newest_valid_checkpoint(tmp_path)
    assert again is not None
    assert again[3] == []


def test_a_step_that_is_bad_twice_keeps_the_later_directory(tmp_path: Path) -> None:
    """Fault C3."""
    for content in ("first", "second"):
        save(tmp_path, 1, 2)
        (tmp_path / "step-000000002" / "tensors").write_text(content)
        checkpoint.find_newest_valid_checkpoint(tmp_path)
    assert (tmp_path / "bad-step-000000002" / "tensors").read_text() == "second"


def test_no_valid_checkpoint_is_an_error_and_not_a_new_start(tmp_path: Path) -> None:
    """Fault C4."""
    save(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        (path / "tensors").unlink()
    with pytest.raises(
        DataError,
        match=r"none of its 2 checkpoints is valid .* Remove the directory to train from the start",
    ):
        checkpoint.find_newest_valid_checkpoint(tmp_path)
    with pytest.raises(
        DataError, match="holds only checkpoints found bad"
    ):  # and no later run forgets it
        checkpoint.find_newest_valid_checkpoint(tmp_path)


@pytest.mark.parametrize("field", ["vocabulary_sha256", "classes", "encoder_fingerprint", "run"])
def test_the_field_that_differs_is_named(field: str, tmp_path: Path) -> None:
    """Fault C5."""
    mine: dict[str, object] = {
        "vocabulary_sha256": "a",
        "classes": ["x", "y"],
        "encoder_fingerprint": "c",
        "run": "d",
    }
    checkpoint.check_same_training(dict(mine), mine, tmp_path)
    with pytest.raises(ConfigError, match=f"made for another {field} \\(other, this run has"):
        checkpoint.check_same_training(mine | {field: "other"}, mine, tmp_path)
    with pytest.raises(ConfigError, match=field):
        checkpoint.check_same_training(
            {name: value for name, value in mine.items() if name != field}, mine, tmp_path
        )


def test_long_values_are_cut_in_the_message(tmp_path: Path) -> None:
    """Fault C5."""
    with pytest.raises(ConfigError) as caught:
        checkpoint.check_same_training({"classes": ["x" * 500]}, {"classes": ["y" * 500]}, tmp_path)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(("keep", "left"), [(1, [5]), (2, [5, 4]), (9, [5, 4, 3])])
def test_the_newest_checkpoints_are_kept(keep: int, left: list[int], tmp_path: Path) -> None:
    """Fault C6."""
    save(tmp_path, 3, 4, 5)
    (tmp_path / "bad-step-000000009").mkdir()
    checkpoint.delete_old_checkpoints(tmp_path, keep)
    assert steps(tmp_path) == left
    assert (tmp_path / "bad-step-000000009").is_dir()


def test_leftovers_of_killed_saves_are_removed(tmp_path: Path) -> None:
    """Fault C6."""
    save(tmp_path, 3)
    (tmp_path / ".step-000000002.x1y2").mkdir()
    checkpoint.delete_old_checkpoints(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000003"]


def test_names_that_are_no_checkpoints_are_left_alone(tmp_path: Path) -> None:
    save(tmp_path, 3)
    for name in ("step-3", "step-000000004.tmp", ".step-000000005.abc", "xstep-000000006"):
        (tmp_path / name).mkdir()
    assert steps(tmp_path) == [3]
    found = checkpoint.find_newest_valid_checkpoint(tmp_path)
    assert found is not None
    assert found[0] == 3


def test_a_finished_checkpoint_is_verified_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a finished artifact"):
        checkpoint.open_checkpoint(tmp_path)


def test_a_checkpoint_keeps_the_names_that_options_had_when_the_format_was_made() -> None:
    content = checkpoint.CheckpointContent.model_validate(
        {
            "classes": ["calm"],
            "vocabulary_sha256": "a",
            "lower_case": True,
            "model": {"encoder": "scratch", "inner_size": 64, "layers": 3, "heads": 2},
            "encoder_fingerprint": "b",
            "history": [],
            "best_step": 1,
            "steps": 1,
            "step_losses": [0.5],
            "train_examples_per_second": 1.0,
            "padding_efficiency": 1.0,
            "workers": 1,
        }
    )
    model = content.model
    assert (model.intermediate_size, model.num_layers, model.num_heads) == (64, 3, 2)
    stored = content.model_dump(mode="json")["model"]
    assert (stored["inner_size"], stored["layers"], stored["heads"]) == (64, 3, 2)
    assert set(stored).isdisjoint({"intermediate_size", "num_layers", "num_heads", "vocab_size"})
