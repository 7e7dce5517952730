"""Imported before any test: `components` chooses Keras 2, which works only before TensorFlow is first imported."""

import components  # noqa: F401
from tests.support.stores.object_stores import place, remote, server_address  # noqa: F401
