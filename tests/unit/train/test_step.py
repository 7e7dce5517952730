"""What the train step says before its workers start."""

from __future__ import annotations

import pytest

from components.config.cluster import ClusterConfig
from components.config.schema import TrainConfig
from components.gpu.driver import GpuDevice
from components.gpu.local_gpus import LocalGpus, UnusedGpus
from components.gpu.missing_gpus import Cause
from components.progress import ProgressEvent, parse_progress_event
from components.train.step import report_start


def report(
    capsys: pytest.CaptureFixture[str], precision: str, cluster: ClusterConfig, gpus: LocalGpus
) -> list[ProgressEvent]:
    report_start(TrainConfig.model_validate({"precision": precision}), cluster, gpus)
    events = map(parse_progress_event, capsys.readouterr().out.splitlines())
    return [event for event in events if event is not None]


def test_gpus_that_are_not_used_are_a_note_which_every_terminal_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpus = LocalGpus(unused=UnusedGpus("GPUs", Cause("the driver fails", "run nvidia-smi")))
    note, start = report(capsys, "float32", ClusterConfig(), gpus)
    assert (note.kind, note.message) == (
        "note",
        "GPUs not used: the driver fails; run nvidia-smi",
    )
    assert start.message == "starting 1 worker, products in float32"


@pytest.mark.parametrize(
    ("cluster", "gpus", "notes"),
    [
        pytest.param(ClusterConfig(), LocalGpus(), 1, id="CPU of this machine"),
        pytest.param(
            ClusterConfig(),
            LocalGpus((GpuDevice("L4", 2**34, (8, 9)),), (None,)),
            0,
            id="GPU of this machine",
        ),
        pytest.param(ClusterConfig(backend="jobset"), LocalGpus(), 1, id="CPUs of a cluster"),
        pytest.param(
            ClusterConfig(backend="jobset", gpus=1), LocalGpus(), 0, id="GPUs of a cluster"
        ),
    ],
)
def test_tf32_where_it_has_no_effect_is_a_note(
    cluster: ClusterConfig, gpus: LocalGpus, notes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(capsys, "tf32", cluster, gpus)
    assert [event.kind for event in found] == ["note"] * notes + [None]
