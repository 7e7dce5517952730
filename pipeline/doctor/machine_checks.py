"""The checks of a run on this machine: Python, packages, resources, data and model store."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import psutil

import components
from components.config.schema import Config
from components.errors import ConfigError, DataError
from components.gpu.driver import (
    PROBE_TIMEOUT_SECONDS,
    DriverReport,
    count_gpus,
    probe_driver,
)
from components.gpu.missing_gpus import find_cause, list_usable_gpus
from components.gpu.tensorflow_build import TensorFlowBuild, read_tensorflow_build
from components.storage.local import check_writable, find_nearest_existing
from components.storage.probe import try_store
from components.storage.uri import is_remote_uri
from pipeline.doctor import MAX_REASON_CHARACTERS, Check, Finding, gpu_checks, join_lines
from pipeline.local import inputs

SUPPORTED_PYTHONS = ((3, 11), (3, 12))
BYTES_PER_GIB = 2**30
MIN_MEMORY_BYTES = 4 * BYTES_PER_GIB
MIN_DISK_BYTES = 4 * BYTES_PER_GIB
MIN_CORES = 2
MAX_LISTED_PACKAGES = 5
IMPORT_TIMEOUT_SECONDS = 170
STORE_TIMEOUT_SECONDS = 60
GPU_TIMEOUT_SECONDS = PROBE_TIMEOUT_SECONDS + 10
LOCK_FILE = Path(components.__file__).parents[1] / "locks" / "dev.txt"
REINSTALL = (
    "recreate .venv: `make setup`, or pip install --no-deps --require-hashes -r locks/dev.txt"
)
_IMPORT_TENSORFLOW = (
    "import components, tensorflow as tf, tensorflow_text, official.nlp; "
    "print(tf.__version__, len(tf.config.list_physical_devices('GPU')))"
)
_ILLEGAL_INSTRUCTION_CODES = (-4, 132)


def build_checks(config: Config, workdir: Path) -> list[Check]:
    """The checks for `kubert run` with this configuration in this work directory."""
    probe = cache(probe_driver)  # a driver that hangs is waited for once
    return [
        Check("python", check_python),
        Check("packages", check_packages),
        Check(
            "tensorflow",
            partial(check_tensorflow, config, probe),
            IMPORT_TIMEOUT_SECONDS + GPU_TIMEOUT_SECONDS,
        ),
        Check("gpus", partial(gpu_checks.check_gpus, config, probe), GPU_TIMEOUT_SECONDS),
        Check("cores", check_cores),
        Check("memory", check_memory),
        Check("work directory", partial(check_work_directory, workdir)),
        Check("data and encoder", partial(check_data_and_encoder, config, workdir)),
        Check(
            "model store",
            partial(check_model_store, config, workdir),
            STORE_TIMEOUT_SECONDS,
            requires="work directory",
        ),
    ]


def check_python() -> Finding:
    """The interpreter's version is supported."""
    version = f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"
    if sys.version_info[:2] in SUPPORTED_PYTHONS:
        return Finding.ok(version)
    return Finding.missing(
        version,
        "use Python 3.11 or 3.12: packages that TensorFlow 2.20 needs exist for no other version",
    )


def check_packages() -> Finding:
    """The installed packages are those of the lock file, or of kubert's own pins without one."""
    pins = _read_pins()
    absent, different = [], []
    for name, pinned in pins.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if installed != pinned:
            different.append(f"{name} {installed} (pinned: {pinned})")
    if _is_installed("tensorflow") and _is_installed("tensorflow-cpu"):
        return Finding.missing(
            "tensorflow and tensorflow-cpu are both installed and overwrite each other's files",
            REINSTALL,
        )
    if absent:
        return Finding.missing(
            f"{len(absent)} of {len(pins)} packages are not installed: {_shorten_list(absent)}",
            REINSTALL,
        )
    if different:
        return Finding.warning(
            f"{len(different)} of {len(pins)} packages have another version: "
            f"{_shorten_list(different)}",
            REINSTALL,
        )
    return Finding.ok(f"{len(pins)} packages, all with the pinned version")


def check_tensorflow(config: Config, probe: Callable[[], DriverReport]) -> Finding:
    """TensorFlow and the packages around it can be imported, tried in a process of its own."""
    command = [sys.executable, "-c", _IMPORT_TENSORFLOW]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_SECONDS,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding.missing(
            f"not imported within {IMPORT_TIMEOUT_SECONDS} s",
            "check whether the machine is busy or its disk is slow, then try again",
        )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        remedy = (
            "this processor lacks AVX, which TensorFlow needs"
            if result.returncode in _ILLEGAL_INSTRUCTION_CODES
            else REINSTALL
        )
        return Finding.missing(f"cannot be imported: {lines[-1][:MAX_REASON_CHARACTERS]}", remedy)
    version, gpus = result.stdout.split()[-2:]
    is_local = config.cluster.backend == "local"
    wanted = config.train.workers * config.cluster.gpus if is_local else 0
    return assess_tensorflow_gpus(version, int(gpus), read_tensorflow_build(), probe(), wanted)


def assess_tensorflow_gpus(
    version: str,
    gpus: int,
    build: TensorFlowBuild | None,
    driver: DriverReport,
    wanted: int = 0,
) -> Finding:
    """TensorFlow works; a warning if it sees fewer GPUs than the driver has and it can use.

    If it sees fewer than a run asks for (`wanted`), they are missing.
    """
    usable = len(list_usable_gpus(build, driver))
    if gpus < usable:
        cause = find_cause(usable, build, driver, os.environ)
        find = Finding.missing if gpus < wanted else Finding.warning
        return find(f"{version}, sees {gpus} of {count_gpus(usable)}: {cause.reason}", cause.remedy)
    return Finding.ok(f"{version}, {gpus} GPUs")


def check_cores() -> Finding:
    """The number of processor cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    if count >= MIN_CORES:
        return Finding.ok(str(count))
    return Finding.warning(
        str(count), f"runs work, but slowly; {MIN_CORES} or more are recommended"
    )


def check_memory() -> Finding:
    """The memory that is available now."""
    available = psutil.virtual_memory().available
    message = f"{available / BYTES_PER_GIB:.1f} GiB available"
    if available >= MIN_MEMORY_BYTES:
        return Finding.ok(message)
    return Finding.warning(
        message,
        "end other programs, or lower train.batch_size; "
        f"{MIN_MEMORY_BYTES // BYTES_PER_GIB} GiB are enough for the quickstart",
    )


def check_work_directory(workdir: Path) -> Finding:
    """The work directory is writable and has room."""
    existing = find_nearest_existing(workdir)
    try:
        check_writable(existing)
    except OSError as error:
        return Finding.missing(
            f"{existing}: not writable ({error.strerror})",
            "choose another one with --workdir",
        )
    free = shutil.disk_usage(existing).free
    message = f"{workdir} is writable, {free / BYTES_PER_GIB:.1f} GiB free"
    if free >= MIN_DISK_BYTES:
        return Finding.ok(message)
    return Finding.warning(
        message,
        "free some space, or choose another one with --workdir; "
        f"{MIN_DISK_BYTES // BYTES_PER_GIB} GiB are recommended",
    )


def check_data_and_encoder(config: Config, workdir: Path) -> Finding:
    """The data and the encoder can be used, as far as `kubert run` checks before its first step."""
    try:
        _, unread = inputs.prepare_inputs(config, workdir)
    except (ConfigError, DataError) as error:
        return Finding.missing(join_lines(error), "correct the configuration, or use --set")
    left = f"; read by the steps only: {', '.join(unread)}" if unread else ""
    return Finding.ok(f"{', '.join(config.data.sources)}; {config.model.encoder}{left}")


def check_model_store(config: Config, workdir: Path) -> Finding:
    """The store of the releases works; a local one is created by the first release."""
    uri = config.export.model_store
    if not is_remote_uri(uri):
        uri = str(find_nearest_existing(workdir / Path(uri).expanduser()))
    return check_store(uri)


def check_store(uri: str) -> Finding:
    """Creates, reads, lists and deletes a temporary object, and refuses to create it twice."""
    found = try_store(uri)
    if found is None:
        return Finding.ok(f"{uri}: creates, reads, lists and deletes objects; creates only once")
    message = found.problem if uri in found.problem else f"{uri}: {found.problem}"
    return Finding.missing(message, found.remedy)


def _read_pins() -> dict[str, str]:
    """Pinned versions by package: of the lock file, else of kubert's own metadata."""
    if LOCK_FILE.is_file():
        text = LOCK_FILE.read_text(encoding="utf-8")
        return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)", text, re.MULTILINE))
    required = importlib.metadata.requires("kubert") or []
    matches = [re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line) for line in required]
    pins = {match[1]: match[2] for match in matches if match}
    if _is_installed("tensorflow-cpu"):
        # tensorflow-cpu is installed in the place of tensorflow on machines without a GPU.
        pins.pop("tensorflow", None)
    return pins


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _shorten_list(names: list[str]) -> str:
    """The first names, and how many more there are."""
    listed = ", ".join(names[:MAX_LISTED_PACKAGES])
    more = len(names) - MAX_LISTED_PACKAGES
    return f"{listed} and {more} more" if more > 0 else listed
