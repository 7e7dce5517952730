"""Imported before any test: `components` chooses Keras 2, which works only before TensorFlow is first imported."""

import logging
from collections.abc import Iterator

import pytest

import components  # noqa: F401
from components.logging_config import LOGGER_NAMES
from tests.support.stores.object_stores import remote, server_address, storage_location  # noqa: F401


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that calls `configure_logging`, directly or through a command, changes no other test's logging."""
    loggers = [logging.getLogger(name) for name in LOGGER_NAMES]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
