from __future__ import annotations

from pathlib import Path

import pytest

from components.artifacts import manifest
from components.artifacts.artifact import verify_artifact
from components.artifacts.staging import staged_input, staged_output
from components.errors import DataError, UsageError
from components.storage.store import open_store
from tests.support.releases.plain_artifact import plain_artifact
from tests.support.stores.object_stores import StorageLocation


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    with (
        staged_input(str(tmp_path / "in"), "checkpoint") as source,
        staged_output(str(tmp_path / "out"), None) as target,
    ):
        assert (source, target) == (tmp_path / "in", tmp_path / "out")


def test_what_was_written_at_an_address_is_read_there(remote: StorageLocation) -> None:
    with staged_output(f"{remote.uri}/checkpoint", "checkpoint") as output:
        made = manifest.read_manifest(plain_artifact(output, "ours"), "checkpoint")
    with staged_input(f"{remote.uri}/checkpoint", "checkpoint") as source:
        assert verify_artifact(source, "checkpoint") == made
    assert not source.exists()
    assert not output.exists()


def test_a_single_file_goes_and_comes(remote: StorageLocation) -> None:
    with staged_output(f"{remote.uri}/gate/decision.json", None) as output:
        output.write_text("{}")
    with staged_input(f"{remote.uri}/gate/decision.json", None) as source:
        assert source.read_text() == "{}"


def test_nothing_is_uploaded_from_a_block_that_failed(remote: StorageLocation) -> None:
    """Fault S3."""

    def fail() -> None:
        with staged_output(f"{remote.uri}/checkpoint", "checkpoint") as output:
            plain_artifact(output, "ours")
            raise DataError("no")

    with pytest.raises(DataError, match="no"):
        fail()
    assert open_store(remote.uri).list() == []


def test_an_artifact_of_another_kind_is_refused_before_the_block_starts(
    remote: StorageLocation,
) -> None:
    with staged_output(f"{remote.uri}/checkpoint", "checkpoint") as output:
        plain_artifact(output, "ours")
    with (
        pytest.raises(DataError, match=r"of format 1; this version .* reads a report"),
        staged_input(f"{remote.uri}/checkpoint", "report"),
    ):
        raise AssertionError("entered")


def test_a_bucket_alone_is_no_file() -> None:
    with (
        pytest.raises(UsageError, match="gs://bucket: write <bucket>/<name of a file>"),
        staged_input("gs://bucket", None),
    ):
        raise AssertionError("entered")
