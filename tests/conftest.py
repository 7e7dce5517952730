"""Fixtures of all tests; imports `components` first, which selects Keras 2 for TensorFlow."""

import logging
import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings

import components  # noqa: F401
from components.logging_config import LOGGER_NAMES
from tests.support.stores.object_stores import remote, server_address, storage_location  # noqa: F401

settings.register_profile("default", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=2_000)
settings.load_profile("default")


def pytest_configure() -> None:
    """Bind each process of pytest-xdist to its share of the cores, with all that it starts.

    Two TensorFlow processes that share two cores wait for each other with threads that spin.
    With more processes than cores, several share one.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    cores = sorted(os.sched_getaffinity(0))
    count = min(len(cores), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) % count :: count])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with many slow tests come first: at the end, no process waits long for the other."""
    slow_tests = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow_tests[item.path])


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that calls `configure_logging` does not change the logging of other tests."""
    loggers = [logging.getLogger(name) for name in LOGGER_NAMES]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
