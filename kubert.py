"""Train, release and use text classifiers: the Python API of kubert.

    import kubert

    run = kubert.run("quickstart", {"train.epochs": 1})
    release = run.load_release()
    release.predict("Shares of the chip maker fell").label

The functions do what the commands of the same names do, by the same code. Exceptions are
`KubertError` and its kinds; their messages say what is wrong and what to do.
"""

from components import __version__
from components.config.schema import Config
from components.errors import (
    ConfigError,
    DataError,
    ExitCode,
    HardwareError,
    KubertError,
    MissingArtifactError,
    UsageError,
)
from pipeline.api.cluster_runs import Run, find_run, submit
from pipeline.api.connection import WorkersNotStoppedError
from pipeline.api.local_runs import FinishedCrossValidation, FinishedRun, Report, run
from pipeline.api.models import models
from pipeline.api.releases import Release, load_release, pull
from pipeline.api.settings import load_settings
from pipeline.local.fold_runs import FoldsFailedError
from pipeline.local.runner import RunInterruptedError, StepFailedError

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "ExitCode",
    "FinishedCrossValidation",
    "FinishedRun",
    "FoldsFailedError",
    "HardwareError",
    "KubertError",
    "MissingArtifactError",
    "Release",
    "Report",
    "Run",
    "RunInterruptedError",
    "StepFailedError",
    "UsageError",
    "WorkersNotStoppedError",
    "__version__",
    "find_run",
    "load_release",
    "load_settings",
    "models",
    "pull",
    "run",
    "submit",
]
