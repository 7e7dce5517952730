"""What runs inside containers: data, artifacts, model, registry, workers, steps and serving.

Importing this package sets TensorFlow's environment variables before TensorFlow can be imported:
Model Garden and TF Hub need the Keras 2 API, and start-up messages do not belong on a user's
terminal. Values that are already set are kept. TensorFlow is then imported with the garbage
collector disabled (`components.gc_disabled_import`).
"""

import os

from components.gc_disabled_import import install_import_hook

__version__ = "0.1.0"

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("PYTHONWARNINGS", "ignore:pkg_resources is deprecated:UserWarning")

install_import_hook()
