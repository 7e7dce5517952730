"""Fixtures of all tests; imports `components` first, which selects Keras 2 for TensorFlow."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

import components  # noqa: F401
from components.logging_config import LOGGER_NAMES
from tests.support.stores.object_stores import remote, server_address, storage_location  # noqa: F401

settings.register_profile("default", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=2_000)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that calls `configure_logging` does not change the logging of other tests."""
    loggers = [logging.getLogger(name) for name in LOGGER_NAMES]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
