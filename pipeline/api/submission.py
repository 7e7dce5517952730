"""Prepares the submission of a run: everything that can be checked is checked before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from pipeline.api.connection import check_run_requirements, connect_to_cluster

if TYPE_CHECKING:
    from components.config.cluster import ClusterConfig
    from components.config.schema import Config
    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.submission import Submission

Prepare = Callable[..., AbstractContextManager["Submission"]]
"""`prepare_submission` or `prepare_scoring`: takes the configuration and `allow_tags`."""


@contextmanager
def open_submission(
    settings: Config,
    cluster: ClusterConfig,
    prepare: Prepare,
    key: str | None,
    *,
    allow_tags: bool,
    check: bool,
) -> Iterator[tuple[KubeflowClient, Submission]]:
    """The API of a resolved section `cluster`, and what is sent to it.

    With `check`, the cluster has what the run needs. Raises ConfigError, DataError or UsageError
    for what the user can mend.
    """
    from pipeline.kubeflow.submit import check_key

    if key is not None:
        check_key(key)
    settings = settings.model_copy(update={"cluster": cluster})
    with (
        prepare(settings, allow_tags=allow_tags) as submission,
        connect_to_cluster(cluster) as api,
    ):
        if check:
            check_run_requirements(api, submission)
        yield api, submission
