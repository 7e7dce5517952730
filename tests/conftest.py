"""Fixtures of all tests; imports `components` first, which selects Keras 2 for TensorFlow."""

import logging
from collections.abc import Iterator

import pytest

import components  # noqa: F401
from components.logging_config import LOGGER_NAMES
from tests.support.stores.object_stores import remote, server_address, storage_location  # noqa: F401


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that calls `configure_logging` does not change the logging of other tests."""
    loggers = [logging.getLogger(name) for name in LOGGER_NAMES]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
