"""Inputs of a run on this machine: absolute paths, and a fingerprint that decides about reuse."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import components
from components.config.data import SAMPLE_SOURCES
from components.config.schema import Config
from components.data.source_files import expand_pattern, is_pattern
from components.data.time_window import fill_date_placeholder, parse_window
from components.errors import ConfigError
from components.registry.reference import split_model_reference
from components.registry.starting_point import resolve_starting_point
from components.storage.atomic_files import file_sha256
from components.storage.uri import has_scheme, parse_uri


def prepare_inputs(config: Config, workdir: Path) -> tuple[Config, list[str]]:
    """The configuration with absolute local paths, and the inputs that only the steps will read.

    All others are checked here. Raises ConfigError or DataError for what a step would refuse.
    """
    # Imported here because the encoders take half a second to import.
    from components.input_validation import validate_inputs

    resolved = resolve_paths(config, workdir)
    return resolved, validate_inputs(resolved)


def check_gpus(config: Config) -> None:
    """Whether each worker of a run on this machine can have its GPUs: the errors of the train step.

    Raises HardwareError for fewer than asked for, and ConfigError if they cannot be divided.
    """
    from components.gpu.local_gpus import find_local_gpus

    if config.cluster.backend == "local":
        find_local_gpus(config.train.workers, config.cluster.gpus)


def resolve_paths(config: Config, workdir: Path) -> Config:
    """The configuration with absolute local paths.

    Inputs are relative to the current directory, model stores to `workdir`. {date} in the source
    is replaced. Raises ConfigError for a data file that does not exist, for a model store whose URI
    is not valid, and for a window or a {date} without `data.end_time`.
    """
    parse_window(config.data)
    data = {
        "source": _resolve_sources("source", fill_date_placeholder(config.data)),
        "test_source": _resolve_sources("test_source", config.data.test_sources),
    }
    tfds = config.data.tfds_data_dir
    data["tfds_data_dir"] = (
        str(Path(tfds).expanduser().absolute()) if tfds and not has_scheme(tfds) else tfds
    )
    model = {"encoder": _resolve_encoder(config.model.encoder)}
    if config.model.start_from is not None:
        model["start_from"] = _resolve_start(config.model.start_from, workdir)
    if config.model.preprocessor is not None:
        model["preprocessor"] = _resolve_existing_path(config.model.preprocessor)
    store = _resolve_store("export.model_store", config.export.model_store, workdir)
    export = {"model_store": store}
    return config.model_copy(
        update={
            "data": config.data.model_copy(update=data),
            "model": config.model.model_copy(update=model),
            "export": config.export.model_copy(update=export),
        }
    )


def compute_fingerprint(config: Config) -> str:
    """SHA-256 (hex) of the code and of the local inputs of a configuration with absolute paths.

    A file is hashed by its bytes, a directory by its files' names, sizes and times. Data in object
    storage may change without notice, so with a gs:// or s3:// source no two fingerprints are equal
    and nothing is reused. The release that `model.start_from` means now is an input.
    """
    inputs = [
        *config.data.sources,
        *config.data.test_sources,
        config.data.tfds_data_dir,
        config.model.encoder.partition(":")[2],
        config.model.preprocessor,
    ]
    parts = {"code": _hash_code(), "inputs": [_hash_input(name) for name in inputs if name]}
    if config.model.start_from is not None:
        parts["start_from"] = resolve_starting_point(config.model.start_from).model_dump_json()
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _resolve_sources(option: str, names: Sequence[str]) -> str | tuple[str, ...] | None:
    resolved = tuple(_resolve_source(option, name) for name in names)
    return resolved if len(resolved) > 1 else next(iter(resolved), None)


def _resolve_source(option: str, source: str) -> str:
    if source in SAMPLE_SOURCES or has_scheme(source) or source.startswith("tfds:"):
        return source
    path = Path(source).expanduser().absolute()
    if not path.exists() and not is_pattern(source):
        raise ConfigError(
            f"data.{option}: {path} does not exist; relative paths start at the current directory, "
            f"{Path.cwd()}"
        )
    return str(path)


def _resolve_encoder(encoder: str) -> str:
    scheme, colon, name = encoder.partition(":")
    return f"{scheme}:{_resolve_existing_path(name)}" if colon else encoder


def _resolve_store(option: str, store: str, workdir: Path) -> str:
    if not has_scheme(store):
        return str(workdir / Path(store).expanduser())
    try:
        parse_uri(store)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None
    return store


def _resolve_start(reference: str, workdir: Path) -> str:
    """As for a store; refused if only the current directory has such a model.

    Else a training would begin without it, as if nothing were released yet.
    """
    resolved = _resolve_store("model.start_from", reference, workdir)
    if has_scheme(reference):
        return resolved
    (store, name, version), (wanted, _, _) = map(split_model_reference, (reference, resolved))
    model = Path(store, name)
    if model.exists() and not Path(wanted, name).exists():
        raise ConfigError(
            f"model.start_from {reference}: a relative path is below the work directory {workdir}, "
            f"which has no such model; for the one in the current directory write "
            f"{model}" + (f"@{version}" if version else "")
        )
    return resolved


def _resolve_existing_path(name: str) -> str:
    """The absolute path of what exists here; any other name, such as a hub's model, as it is."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name


def _hash_input(name: str) -> str:
    path = Path(name)
    if path.is_file():
        return file_sha256(path)
    if is_pattern(name) and not has_scheme(name):
        return repr([(file, file_sha256(Path(file))) for file in expand_pattern(name)])
    if path.is_dir():
        return repr(
            [
                (str(file), file.stat().st_size, file.stat().st_mtime_ns)
                for file in sorted(path.rglob("*"))
                if file.is_file()
            ]
        )
    return f"{name} {time.time_ns()}" if name.startswith(("gs://", "s3://")) else name


def _hash_code() -> str:
    root = Path(components.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".csv", ".j2"))
    lines = "".join(f"{path.relative_to(root)} {file_sha256(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()
