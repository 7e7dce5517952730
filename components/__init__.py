"""What runs inside containers: the nouns (artifacts), the model and the verbs (steps).

Importing this package sets TensorFlow's environment before TensorFlow can be imported: Model Garden and TF-Hub need
the Keras 2 API, and start-up messages do not belong on a person's terminal. Values that are already set win.
Whoever imports TensorFlow then does it with the garbage collector at rest (`components.gc_disabled_import`).
"""

import os

from components import gc_disabled_import

__version__ = "0.1.0"

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("PYTHONWARNINGS", "ignore:pkg_resources is deprecated:UserWarning")

gc_disabled_import.install_import_hook()
