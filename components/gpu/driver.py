"""What the NVIDIA driver of this machine shows, asked through its library and without TensorFlow.

`python -m components.gpu.driver` prints a `DriverReport` as JSON. `probe_driver` runs it as a
process: a library that crashes or hangs does not harm the caller, and a process that has called
cuInit must not fork, which launchers do.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

LIBRARY = "libcuda.so.1"
PROBE_TIMEOUT_SECONDS = 60
"""cuInit takes seconds per GPU where nothing keeps the driver loaded (no persistence mode)."""
GKE_DRIVER_DIRECTORY = "/usr/local/nvidia/lib64"
KNOWN_DRIVER_DIRECTORIES = (
    GKE_DRIVER_DIRECTORY,
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/wsl/lib",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
)
"""Where drivers are: GKE, Debian, Red Hat, Windows' Linux, NVIDIA's operator."""
_DEFAULT_DIRECTORIES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
_LOADER_CONFIGURATION = Path("/etc/ld.so.conf")
_MAPPED_FILES = Path("/proc/self/maps")
_COMPUTE_CAPABILITY_ATTRIBUTES = (75, 76)
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h."""
_MAX_NAME_BYTES = 256


@dataclass(frozen=True)
class GpuDevice:
    """One GPU that the driver shows to this process."""

    name: str
    memory_bytes: int
    compute_capability: tuple[int, int]

    @property
    def capability(self) -> str:
        """The compute capability as NVIDIA writes it, such as 8.9."""
        return ".".join(map(str, self.compute_capability))

    @property
    def title(self) -> str:
        """The name and what TensorFlow's kernels depend on, for messages."""
        return f"{self.name} (compute capability {self.capability})"


@dataclass(frozen=True)
class DriverReport:
    """The driver's library and the GPUs that CUDA_VISIBLE_DEVICES leaves visible.

    library: path of the file that was loaded; empty if none was.
    version: the driver's version, such as 550.54.15; empty if the file's name does not have it.
    cuda_version: newest CUDA version that the driver supports, such as 12.4.
    error: why there are no devices although there may be GPUs: what the loader or CUDA said.
    searched: directories in which the loader looked for the library.
    other_directories: directories that have the library, although the loader does not look there.
    """

    library: str = ""
    version: str = ""
    cuda_version: str = ""
    error: str = ""
    devices: tuple[GpuDevice, ...] = ()
    searched: tuple[str, ...] = ()
    other_directories: tuple[str, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether there is a driver, and it shows nothing because of its `error`."""
        is_absent = self.error.startswith(LIBRARY) and "No such file" in self.error
        return bool(self.error) and not is_absent


def count_gpus(number: int) -> str:
    """The number with its noun, for messages: "1 GPU", "2 GPUs"."""
    return f"{number} GPU{'s' if number > 1 else ''}"


def probe_driver(environment: Mapping[str, str] | None = None) -> DriverReport:
    """Ask the driver in a process with these environment variables; default: those of this one.

    Takes some 50 ms where there is no driver. Never raises: what went wrong is the report's error.
    """
    variables = os.environ if environment is None else environment
    command = [sys.executable, "-m", "components.gpu.driver"]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_SECONDS,
            env={**variables, "PYTHONSAFEPATH": "1"},
            check=False,
        )
        return _parse_report(json.loads(result.stdout))
    except subprocess.TimeoutExpired:
        return DriverReport(error=f"the driver did not answer within {PROBE_TIMEOUT_SECONDS} s")
    except ValueError:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        code = f"exit code {result.returncode}"
        return DriverReport(error=f"the driver's library ended the process ({code}: {reason})")


def read_driver() -> DriverReport:
    """Load the driver's library into this process and list the GPUs."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        searched = list_library_directories(os.environ.get("LD_LIBRARY_PATH", ""))
        return DriverReport(
            error=str(error),
            searched=searched,
            other_directories=find_library(set(KNOWN_DRIVER_DIRECTORIES) - set(searched)),
        )
    path = _find_mapped_library()
    suffix = path.rpartition(".so.")[2]
    report = DriverReport(library=path, version=suffix if "." in suffix else "")
    if code := library.cuInit(0):
        return replace(report, error=f"cuInit: {_read_error(library, code)}")
    count, cuda = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(cuda))
    if code := library.cuDeviceGetCount(ctypes.byref(count)):
        return replace(report, error=f"cuDeviceGetCount: {_read_error(library, code)}")
    return replace(
        report,
        cuda_version=f"{cuda.value // 1000}.{cuda.value % 1000 // 10}",
        devices=tuple(_read_device(library, index) for index in range(count.value)),
    )


def list_library_directories(
    library_path: str, configuration: Path = _LOADER_CONFIGURATION
) -> tuple[str, ...]:
    """The directories in which the loader looks for a library, in its order, each once.

    `library_path` is LD_LIBRARY_PATH; ld.so(8) describes it and the configuration file.
    """
    named = [directory for directory in library_path.split(":") if directory]
    configured = list(_read_loader_configuration(configuration))
    return tuple(dict.fromkeys([*named, *configured, *_DEFAULT_DIRECTORIES]))


def find_library(directories: Sequence[str] | set[str]) -> tuple[str, ...]:
    """The directories that have the driver's library."""
    return tuple(sorted(each for each in directories if (Path(each) / LIBRARY).exists()))


def _read_loader_configuration(file: Path) -> Iterator[str]:
    """The directories that a file like /etc/ld.so.conf names, with those of included files."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].split()
        if words[:1] == ["include"]:
            for pattern in words[1:]:
                for included in sorted(Path("/").glob(pattern.lstrip("/"))):
                    yield from _read_loader_configuration(included)
        else:
            yield from words


def _find_mapped_library() -> str:
    """The path of the library's file, with links resolved, among those that are mapped here."""
    found = re.search(r"\S*/libcuda\.so\S*", _MAPPED_FILES.read_text(encoding="utf-8"))
    return found[0] if found else ""


def _read_device(library: ctypes.CDLL, index: int) -> GpuDevice:
    device, number = ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(_MAX_NAME_BYTES), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, _MAX_NAME_BYTES, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in _COMPUTE_CAPABILITY_ATTRIBUTES:
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(number.value)
    return GpuDevice(name.value.decode(), memory.value, (capability[0], capability[1]))


def _read_error(library: ctypes.CDLL, code: int) -> str:
    """CUDA's name and text of an error code; they can be asked for before cuInit has succeeded."""
    texts = []
    for function in (library.cuGetErrorName, library.cuGetErrorString):
        text = ctypes.c_char_p()
        if function(code, ctypes.byref(text)) == 0 and text.value:
            texts.append(text.value.decode())
    return f"{': '.join(texts) or 'unknown error'} (error {code})"


def _parse_report(value: Any) -> DriverReport:
    devices = (
        GpuDevice(**{**device, "compute_capability": tuple(device["compute_capability"])})
        for device in value["devices"]
    )
    return DriverReport(
        **{
            **value,
            "devices": tuple(devices),
            "searched": tuple(value["searched"]),
            "other_directories": tuple(value["other_directories"]),
        }
    )


if __name__ == "__main__":
    print(json.dumps(asdict(read_driver())))
