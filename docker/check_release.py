"""Checks what a release needs, without changing anything: `make release-check`.

Prints one line per check: `ok`, `missing` (something outside of the repository is not there yet) or
`failed`, and the remedy. Exit code: 0 all ok, 1 something failed, 2 something is missing.

Package and generated pages are checked in a copy of HEAD, so the working tree stays as it is.
"""

from __future__ import annotations

import datetime
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("components", "pipeline")
IMAGE_VARIABLES = ("KUBERT_TRAIN_IMAGE", "KUBERT_STEP_IMAGE", "KUBERT_TOOLS_IMAGE")
TENSORFLOW_BUILDS = {"tensorflow": "tensorflow-cpu", "tensorflow-cpu": "tensorflow"}
"""The same library for GPUs and for CPUs: a lock has one of them (locks/overrides-*.txt)."""
MAX_SHOWN = 3
_VERSION = re.compile(r'^__version__ = "(\d+\.\d+\.\d+)"$', re.MULTILINE)
_CHANGELOG_ENTRY = re.compile(r"^## (.+)$", re.MULTILINE)
_RELEASED = re.compile(r"(\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})")
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
# setuptools changes sys.argv while it builds.
_BUILD = (
    "import sys; from setuptools import build_meta as backend; output = sys.argv[1]; "
    "backend.build_sdist(output); backend.build_wheel(output)"
)

State = Literal["ok", "missing", "failed"]


@dataclass(frozen=True)
class Result:
    """What a check found, and what to do about it."""

    state: State
    found: str
    remedy: str = ""


def run_git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def read_git_setting(root: Path, name: str) -> str:
    """A setting of git; empty if it is not set."""
    return run_git(root, "config", "--default", "", "--get", name)


def read_version(root: Path) -> str | None:
    """`components.__version__`; None if it is not three numbers."""
    text = (root / "components" / "__init__.py").read_text(encoding="utf-8")
    match = _VERSION.search(text)
    return match[1] if match else None


def read_pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def check_version(root: Path) -> Result:
    """The top entry of the changelog is this version, with the date of a day that has come."""
    version = read_version(root)
    if version is None:
        return Result(
            "failed",
            "components/__init__.py has no version of three numbers",
            'set __version__ = "X.Y.Z"',
        )
    entry = _CHANGELOG_ENTRY.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    heading = entry[1] if entry else "nothing"
    remedy = f"name it `## {version} - YYYY-MM-DD`"
    match = _RELEASED.fullmatch(heading)
    if match is None:
        return Result("failed", f"the top entry of CHANGELOG.md is {heading!r}", remedy)
    if match[1] != version:
        return Result(
            "failed",
            f"the version is {version}, the top entry of CHANGELOG.md is {match[1]}",
            "change components.__version__ or the entry",
        )
    try:
        day = datetime.date.fromisoformat(match[2])
    except ValueError:
        return Result("failed", f"CHANGELOG.md: {match[2]} is no date", remedy)
    if day > datetime.datetime.now(datetime.UTC).date():
        return Result(
            "failed", f"CHANGELOG.md: {match[2]} is in the future", "set the date of today"
        )
    return Result("ok", f"{version} of {match[2]}")


def check_tag(root: Path) -> Result:
    """The version's tag is not used by another commit."""
    tag = f"v{read_version(root)}"
    if not run_git(root, "tag", "--list", tag):
        return Result("ok", f"{tag} is free")
    if run_git(root, "rev-parse", f"{tag}^{{commit}}") == run_git(root, "rev-parse", "HEAD"):
        return Result("ok", f"{tag} is this commit")
    return Result(
        "failed", f"{tag} is another commit", "raise components.__version__; never move a tag"
    )


def check_tree(root: Path) -> Result:
    """Nothing is modified or untracked."""
    changed = run_git(root, "status", "--porcelain").splitlines()
    if not changed:
        return Result("ok", f"clean at {run_git(root, 'rev-parse', '--short', 'HEAD')}")
    files = [line[2:].strip() for line in changed]
    return Result("failed", f"not committed: {_list(files)}", "commit, or remove them")


def read_pins(text: str) -> tuple[dict[str, str], list[str]]:
    """Versions by package, and the lines that are no pin with a hash."""
    pins: dict[str, str] = {}
    wrong = []
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    for statement in "\n".join(lines).replace("\\\n", " ").splitlines():
        match = _PIN.match(statement)
        if match and _HASH.search(statement):
            pins[canonicalize_name(match[1])] = match[2]
        else:
            wrong.append(statement.split()[0])
    return pins, wrong


def read_requirements(path: Path) -> Iterator[Requirement]:
    """The requirements of a file, with those of the files that it includes."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            yield from read_requirements(path.parent / text.removeprefix("-r ").strip())
        elif text:
            yield Requirement(text)


def find_unmet(requirements: Iterable[Requirement], pins: dict[str, str]) -> list[str]:
    """The requirements that the pins do not satisfy."""
    unmet = []
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name = canonicalize_name(requirement.name)
        version = pins.get(name) or pins.get(TENSORFLOW_BUILDS.get(name, ""))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            unmet.append(f"{requirement} (pinned: {version or 'no'})")
    return unmet


def check_locks(root: Path) -> Result:
    """Each lock has only pins with hashes, and meets its .in file; dev.txt meets pyproject.toml."""
    locks = root / "locks"
    errors = []
    for source in sorted(locks.glob("*.in")):
        lock = source.with_suffix(".txt")
        if not lock.exists():
            errors.append(f"{lock.name} is not there")
            continue
        pins, wrong = read_pins(lock.read_text(encoding="utf-8"))
        errors += [f"{lock.name}: {name} has no version or hash" for name in wrong]
        errors += [f"{lock.name}: {text}" for text in find_unmet(read_requirements(source), pins)]
    project = read_pyproject(root)["project"]
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    pins, _ = read_pins((locks / "dev.txt").read_text(encoding="utf-8"))
    unmet = find_unmet((Requirement(text) for group in groups for text in group), pins)
    errors += [f"dev.txt, pyproject.toml: {text}" for text in unmet]
    if errors:
        return Result("failed", _list(errors), "make lock")
    return Result("ok", f"{len(list(locks.glob('*.in')))} lock files, pinned with hashes")


def check_generated_pages(copy: Path) -> Result:
    """Each docs/generate_*.py writes the pages that are committed."""
    before = _read_pages(copy)
    for script in sorted((copy / "docs").glob("generate_*.py")):
        done = _run_python(copy, "-m", f"docs.{script.stem}")
        if done.returncode:
            return Result("failed", f"{script.name}: {_last_line(done.stderr)}", "make reference")
    after = _read_pages(copy)
    changed = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if changed:
        return Result("failed", f"out of date: {_list(changed)}", "make reference")
    return Result("ok", "up to date")


def check_licence(root: Path) -> Result:
    """The licence that pyproject.toml names is in the file that it names."""
    project = read_pyproject(root)["project"]
    remedy = 'put the text of the licence into LICENSE, license = "Apache-2.0" into pyproject.toml'
    for name in project.get("license-files", []):
        path = root / name
        if not path.exists() or "Apache License" not in path.read_text(encoding="utf-8"):
            return Result("failed", f"{name} does not have the Apache License", remedy)
    if project.get("license") != "Apache-2.0" or not project.get("license-files"):
        return Result("failed", "pyproject.toml does not name Apache-2.0 and its file", remedy)
    return Result("ok", f"Apache-2.0 in {', '.join(project['license-files'])}")


def check_package(copy: Path) -> Result:
    """The sdist and the wheel build, and contain the two packages and nothing else."""
    with tempfile.TemporaryDirectory(prefix="kubert-package-") as output:
        expected = find_package_files(copy)
        done = _run_python(copy, "-c", _BUILD, output)
        if done.returncode:
            return Result(
                "failed", f"does not build: {_last_line(done.stderr)}", "mend pyproject.toml"
            )
        version = read_version(copy)
        wheel = Path(output) / f"kubert-{version}-py3-none-any.whl"
        sdist = Path(output) / f"kubert-{version}.tar.gz"
        for path in (wheel, sdist):
            if not path.exists():
                return Result("failed", f"{path.name} was not built", "mend pyproject.toml")
        with zipfile.ZipFile(wheel) as archive:
            errors = find_wrong_wheel_files(archive.namelist(), expected)
        with tarfile.open(sdist) as archive_of_sources:
            names = [item.name for item in archive_of_sources.getmembers() if item.isfile()]
        errors += find_wrong_sdist_files(names, expected)
        if errors:
            return Result("failed", _list(errors), "mend [tool.setuptools] in pyproject.toml")
        size = wheel.stat().st_size // 1000
        return Result("ok", f"{wheel.name} ({len(expected)} files, {size} kB) and {sdist.name}")


def find_package_files(root: Path) -> set[str]:
    """What a wheel contains: all modules, and what pyproject.toml names beside them."""
    setuptools = read_pyproject(root)["tool"]["setuptools"]
    return {f"{module}.py" for module in setuptools.get("py-modules", ())} | {
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for pattern in ("**/*.py", *setuptools.get("package-data", {}).get(package, ()))
        for path in (root / package).glob(pattern)
    }


def find_wrong_wheel_files(names: Iterable[str], expected: set[str]) -> list[str]:
    """Files that the wheel should not have, and those that it lacks."""
    found = {name for name in names if ".dist-info/" not in name}
    metadata = {name.partition(".dist-info/")[2] for name in names} - {""}
    needed = {"METADATA", "entry_points.txt", "licenses/LICENSE"}
    return [
        *(f"wheel has {name}" for name in sorted(found - expected)),
        *(f"wheel lacks {name}" for name in sorted(expected - found)),
        *(f"wheel lacks {name}" for name in sorted(needed - metadata)),
    ]


def find_wrong_sdist_files(names: Iterable[str], expected: set[str]) -> list[str]:
    """Files that the sdist should not have, and those that it lacks."""
    found = {name.partition("/")[2] for name in names}
    needed = expected | {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    extra = {name for name in found - needed if not name.startswith("kubert.egg-info/")}
    return [
        *(f"sdist has {name}" for name in sorted(extra - {"setup.cfg"})),
        *(f"sdist lacks {name}" for name in sorted(needed - found)),
    ]


def check_images(root: Path) -> Result:
    """build/images.env names the images by digest, in a registry."""
    remedy = "make images PUSH=REGISTRY/FOLDER"
    path = root / "build" / "images.env"
    if not path.exists():
        return Result("missing", "build/images.env is not there", remedy)
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    images = {name: reference for name, _, reference in lines}
    for name in IMAGE_VARIABLES:
        reference = images.get(name, "")
        if not _IMAGE.fullmatch(reference):
            return Result(
                "failed", f"build/images.env: {name} is not an image with a digest", remedy
            )
        if reference.startswith("localhost/"):
            return Result("missing", f"{name} is on this machine only", remedy)
    return Result("ok", "all by digest")


def check_program(_root: Path, name: str, purpose: str) -> Result:
    """A program that a release needs is installed."""
    if shutil.which(name):
        return Result("ok", name)
    return Result("missing", f"{name} is not installed", f"install {name}, which {purpose}")


def check_tag_signature(root: Path) -> Result:
    """A tool and a key that sign the tag."""
    if read_git_setting(root, "gpg.format") in ("", "openpgp") and not shutil.which("gpg"):
        return Result(
            "missing", "gpg is not installed", "install gpg, or set git's gpg.format to ssh"
        )
    if not read_git_setting(root, "user.signingkey"):
        return Result("missing", "git has no signing key", "git config user.signingkey KEY")
    return Result("ok", "git tag --sign")


CHECKS: dict[str, Callable[[Path], Result]] = {
    "version": check_version,
    "tag": check_tag,
    "working tree": check_tree,
    "lock files": check_locks,
    "generated pages": check_generated_pages,
    "licence": check_licence,
    "package": check_package,
    "images": check_images,
    "bill of materials": partial(
        check_program, name="syft", purpose="lists the packages of an image"
    ),
    "image signature": partial(check_program, name="cosign", purpose="signs images by digest"),
    "tag signature": check_tag_signature,
}
CHECKED_IN_A_COPY = (check_generated_pages, check_package)


def run_checks(root: Path) -> Iterator[tuple[str, Result]]:
    """Every check with its result, in order."""
    for name, check in CHECKS.items():
        if check not in CHECKED_IN_A_COPY:
            yield name, check(root)
            continue
        with tempfile.TemporaryDirectory(prefix="kubert-release-") as directory:
            copy_head(root, Path(directory))
            yield name, check(Path(directory))


def copy_head(root: Path, directory: Path) -> None:
    """Write the files of HEAD to a directory."""
    command = ["git", "-C", str(root), "archive", "--format=tar", "HEAD"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        # Python has the filter from 3.11.4 on; the archive was built here.
        if hasattr(tarfile, "data_filter"):
            files.extraction_filter = tarfile.data_filter
        files.extractall(directory)  # noqa: S202 - it was built just now


def exit_code(states: Iterable[State]) -> int:
    """1 if a check failed, 2 if only something is missing, 0 otherwise."""
    found = set(states)
    return 1 if "failed" in found else 2 if "missing" in found else 0


def main(root: Path = ROOT) -> int:
    states = []
    for name, result in run_checks(root):
        remedy = f"; {result.remedy}" if result.remedy else ""
        print(f"{result.state:8}{name:19}{result.found}{remedy}", flush=True)
        states.append(result.state)
    return exit_code(states)


def _run_python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(directory), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


def _read_pages(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("docs/**/*.md")
    }


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no message")


def _list(items: list[str]) -> str:
    more = f" and {len(items) - MAX_SHOWN} more" if len(items) > MAX_SHOWN else ""
    return ", ".join(items[:MAX_SHOWN]) + more


if __name__ == "__main__":
    sys.exit(main())
