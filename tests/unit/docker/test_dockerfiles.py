"""The instructions of the Dockerfiles; tests/e2e/test_images.py tests the images themselves."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "docker" / "train.Dockerfile", ROOT / "docker" / "tools.Dockerfile"]
pytestmark = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def instructions(file):
    """(instruction, argument) in order; comments dropped, continued lines joined."""
    lines = (line for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (word, rest)
        for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def last_stage(file):
    found = instructions(file)
    return found[max(index for index, (word, _) in enumerate(found) if word == "FROM") :]


def test_both_stages_start_from_the_one_base_that_can_be_named(file):
    assert [rest for word, rest in instructions(file) if word == "FROM"] == [
        "${BASE} AS build",
        "${BASE}",
    ]
    assert ("ARG", "BASE=docker.io/library/python:3.11-slim") in instructions(file)


def test_the_user_is_given_by_number_and_never_taken_back(file):
    assert [rest for word, rest in instructions(file) if word == "USER"] == ["10001:10001"]


def test_the_image_gets_only_what_the_build_stage_laid_out(file):
    copied = [rest for word, rest in last_stage(file) if word in ("COPY", "ADD")]
    assert copied
    assert all(re.fullmatch(r"--from=build /layers/[a-z]+ /", rest) for rest in copied)


def test_no_folder_is_copied_whole(file):
    sources = [rest.split()[:-1] for word, rest in instructions(file) if word == "COPY"]
    assert not any(source in (".", "./", "/") for line in sources for source in line)
    assert not any(word == "ADD" for word, _ in instructions(file))


def test_packages_come_from_a_lock_with_hashes_and_nothing_else(file):
    installs = [
        command
        for word, rest in instructions(file)
        if word == "RUN"
        for command in re.split(r"&&|;", rest)
        if " install " in command
    ]
    assert installs
    for command in installs:
        assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(command.split())
        assert "apt" not in command
    copied = {
        source
        for word, rest in instructions(file)
        if word == "COPY"
        for source in rest.split()
        if source.startswith("locks/")
    }
    assert copied
    assert all((ROOT / source).is_file() for source in copied)


def test_labels_tell_version_revision_and_licence(file):
    (labels,) = [rest for word, rest in last_stage(file) if word == "LABEL"]
    for label, value in {
        "version": "$VERSION",
        "revision": "$REVISION",
        "licenses": "Apache-2.0",
    }.items():
        assert f'org.opencontainers.image.{label}="{value}"' in labels


def test_it_runs_with_a_read_only_root(file):
    environment = " ".join(rest for word, rest in last_stage(file) if word == "ENV")
    assert "HOME=/tmp" in environment
    assert "PYTHONDONTWRITEBYTECODE=1" in environment


def test_the_train_image_looks_for_the_driver_where_gke_mounts_it(file):
    variables = [rest for word, rest in last_stage(file) if word == "ENV"]
    assert ("LD_LIBRARY_PATH=/usr/local/nvidia/lib64" in variables) == (file.stem == "train")


def test_what_pip_needs_to_know_is_a_secret_not_an_argument(file):
    arguments = [rest.partition("=")[0] for word, rest in instructions(file) if word == "ARG"]
    assert set(arguments) <= {"BASE", "DEVICE", "VERSION", "REVISION"}
    assert "://" not in file.read_text()
