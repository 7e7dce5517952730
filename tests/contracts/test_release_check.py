"""`make release-check`: each check passes for a complete project and fails for what it is about."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docker" / "check_release.py"


def load_script() -> Any:
    spec = spec_from_file_location("check_release", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


check_release = load_script()
DIGEST = f"sha256:{'0' * 64}"
PIN = f"pyyaml==6.0.2 \\\n    --hash={DIGEST}\n    # via -r dev.in\n"
IMAGES = "".join(
    f"KUBERT_{name}_IMAGE=r/{name.lower()}@{DIGEST}\n" for name in ("TRAIN", "STEP", "TOOLS")
)
PYPROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "kubert"
version = "1.2.3"
license = "Apache-2.0"
license-files = ["LICENSE"]
readme = "README.md"
dependencies = ["pyyaml>=6"]
[project.scripts]
kubert = "pipeline:main"
[tool.setuptools.packages.find]
include = ["components*", "pipeline*"]
[tool.setuptools.package-data]
components = ["*.csv"]
"""
GENERATOR = """import pathlib
page = pathlib.Path(__file__).parent / "reference" / "page.md"
page.write_text("# Page\\n")
"""
FILES = {
    "CHANGELOG.md": "# Changelog\n\n## 1.2.3 - 2026-01-31\n\n- First.\n",
    "LICENSE": "Apache License\nVersion 2.0\n",
    "README.md": "# kubert\n",
    "components/__init__.py": '__version__ = "1.2.3"\n',
    "components/sample.csv": "a,b\n",
    "docs/generate_reference.py": GENERATOR,
    "docs/reference/page.md": "# Page\n",
    "locks/dev.in": "pyyaml  # configurations\n",
    "locks/dev.txt": PIN,
    "locks/tools.in": "-r dev.in\n",
    "locks/tools.txt": PIN,
    "pipeline/__init__.py": "def main(): pass\n",
    "pyproject.toml": PYPROJECT,
    "tests/unit/test_x.py": "",
    ".gitignore": "build/\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project that is ready for its release, committed."""
    root = tmp_path / "project"
    write_files(root, FILES)
    run_git(root, "init", "--quiet", ".")
    commit(root)
    return root


def write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run_git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    command = ["git", "-C", str(root), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def commit(root: Path) -> None:
    run_git(root, "add", "--all")
    run_git(root, "commit", "--quiet", "--allow-empty", "--no-verify", "--message", "A commit")


@pytest.mark.parametrize(
    ("check", "found"),
    [
        pytest.param("version", "1.2.3 of 2026-01-31", id="version"),
        pytest.param("tag", "v1.2.3 is free", id="tag"),
        pytest.param("lock files", "2 lock files, pinned with hashes", id="locks"),
        pytest.param("generated pages", "up to date", id="pages"),
        pytest.param("licence", "Apache-2.0 in LICENSE", id="licence"),
    ],
)
def test_a_complete_project_passes(project: Path, check: str, found: str) -> None:
    assert check_release.CHECKS[check](project) == check_release.Result("ok", found)


@pytest.mark.parametrize(
    ("check", "file", "old", "new", "found"),
    [
        pytest.param(
            "version",
            "CHANGELOG.md",
            "1.2.3 - 2026-01-31",
            "Unreleased",
            "is 'Unreleased'",
            id="no-released-entry",
        ),
        pytest.param("version", "CHANGELOG.md", "1.2.3 ", "1.2.2 ", "is 1.2.2", id="other-version"),
        pytest.param("version", "CHANGELOG.md", "01-31", "02-31", "is no date", id="no-date"),
        pytest.param(
            "version", "CHANGELOG.md", "2026", "2999", "is in the future", id="date-in-the-future"
        ),
        pytest.param(
            "version",
            "components/__init__.py",
            "1.2.3",
            "1.2.dev0",
            "no version of three numbers",
            id="no-release-version",
        ),
        pytest.param(
            "lock files",
            "locks/tools.txt",
            "--hash",
            "--hsah",
            "pyyaml==6.0.2 has no version or",
            id="no-hash",
        ),
        pytest.param(
            "lock files",
            "locks/tools.txt",
            "==",
            ">=",
            "tools.txt: pyyaml (pinned: no)",
            id="not-pinned",
        ),
        pytest.param(
            "lock files",
            "locks/dev.in",
            "pyyaml",
            "pyyaml\ntyper",
            "dev.txt: typer (pinned: no)",
            id="not-in-the-lock",
        ),
        pytest.param(
            "lock files",
            "pyproject.toml",
            "pyyaml>=6",
            "pyyaml>=7",
            "pyyaml>=7 (pinned: 6.0.2)",
            id="older-than-pyproject",
        ),
        pytest.param(
            "generated pages",
            "docs/reference/page.md",
            "# Page",
            "# Old",
            "docs/reference/page.md",
            id="page-out-of-date",
        ),
        pytest.param(
            "generated pages",
            "docs/generate_reference.py",
            "import",
            "raise KeyError\nimport",
            "generate_reference.py: KeyError",
            id="generator-fails",
        ),
        pytest.param("licence", "LICENSE", "Apache", "Other", "does not have", id="other-licence"),
        pytest.param(
            "licence",
            "pyproject.toml",
            'license = "Apache-2.0"',
            "",
            "does not name",
            id="no-licence-in-pyproject",
        ),
    ],
)
def test_a_wrong_file_fails(
    project: Path, check: str, file: str, old: str, new: str, found: str
) -> None:
    text = FILES[file]
    assert old in text
    (project / file).write_text(text.replace(old, new), encoding="utf-8")
    result = check_release.CHECKS[check](project)
    assert result.state == "failed"
    assert found in result.found
    assert result.remedy


def test_a_missing_lock_file_fails(project: Path) -> None:
    (project / "locks" / "tools.txt").unlink()
    result = check_release.check_locks(project)
    assert (result.state, result.found) == ("failed", "tools.txt is not there")


def test_a_file_that_is_not_committed_fails(project: Path) -> None:
    assert check_release.check_tree(project).state == "ok"
    (project / "new.txt").write_text("", encoding="utf-8")
    result = check_release.check_tree(project)
    assert (result.state, result.found) == ("failed", "not committed: new.txt")


def test_a_tag_of_another_commit_fails(project: Path) -> None:
    run_git(project, "tag", "v1.2.3")
    assert check_release.check_tag(project) == check_release.Result("ok", "v1.2.3 is this commit")
    commit(project)
    result = check_release.check_tag(project)
    assert (result.state, result.found) == ("failed", "v1.2.3 is another commit")


def test_a_package_contains_the_two_packages_only(project: Path) -> None:
    result = check_release.check_package(project)
    assert result.state == "ok"
    assert result.found.startswith("kubert-1.2.3-py3-none-any.whl (3 files, ")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        pytest.param('"pipeline*"', '"pipeline*", "tests*"', "wheel has tests/", id="tests"),
        pytest.param('["components*", ', "[", "wheel lacks components/__init__.py", id="package"),
        pytest.param("[project.scripts]\nkubert", "[x]\ny", "entry_points.txt", id="command"),
        pytest.param('name = "kubert"', "", "does not build", id="does-not-build"),
    ],
)
def test_a_wrong_package_fails(project: Path, old: str, new: str, found: str) -> None:
    assert old in PYPROJECT
    files = {"pyproject.toml": PYPROJECT.replace(old, new), "tests/__init__.py": ""}
    write_files(project, files)
    result = check_release.check_package(project)
    assert result.state == "failed"
    assert found in result.found


def test_a_test_beside_the_folders_of_tests_would_be_in_the_sdist(project: Path) -> None:
    write_files(project, {"tests/test_x.py": ""})
    result = check_release.check_package(project)
    assert (result.state, result.found) == ("failed", "sdist has tests/test_x.py")


def test_a_file_that_a_wheel_or_an_sdist_should_not_have_is_named() -> None:
    metadata = [f"kubert-1.dist-info/{name}" for name in ("METADATA", "entry_points.txt")]
    names = ["components/a.py", ".github/x.yml", *metadata]
    assert check_release.find_wrong_wheel_files(names, {"components/a.py"}) == [
        "wheel has .github/x.yml",
        "wheel lacks licenses/LICENSE",
    ]
    sources = ["k/components/a.py", "k/README.md", "k/PKG-INFO", "k/pyproject.toml", "k/LICENSE"]
    names = [*sources, "k/tests/data/golden.json", "k/setup.cfg", "k/kubert.egg-info/SOURCES.txt"]
    assert check_release.find_wrong_sdist_files(names, {"components/a.py"}) == [
        "sdist has tests/data/golden.json"
    ]


@pytest.mark.parametrize(
    ("text", "state", "found"),
    [
        pytest.param(None, "missing", "build/images.env is not there", id="not-built"),
        pytest.param(IMAGES, "ok", "all by digest", id="pushed"),
        pytest.param(
            IMAGES.replace("=r/", "=localhost/"), "missing", "on this machine only", id="local"
        ),
        pytest.param(IMAGES.replace("@sha256", ":1"), "failed", "with a digest", id="by-tag"),
        pytest.param("", "failed", "KUBERT_TRAIN_IMAGE is not an image", id="empty"),
        pytest.param(
            IMAGES.replace("STEP", "OLD"), "failed", "KUBERT_STEP_IMAGE is not", id="one-missing"
        ),
    ],
)
def test_images_are_named_by_digest(
    project: Path, text: str | None, state: str, found: str
) -> None:
    if text is not None:
        write_files(project, {"build/images.env": text})
    result = check_release.check_images(project)
    assert result.state == state
    assert found in result.found


@pytest.mark.parametrize(
    ("check", "tool"), [("bill of materials", "syft"), ("image signature", "cosign")]
)
def test_a_tool_that_is_not_installed_is_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch, check: str, tool: str
) -> None:
    monkeypatch.setattr(check_release.shutil, "which", lambda name: None)
    result = check_release.CHECKS[check](project)
    assert (result.state, result.found) == ("missing", f"{tool} is not installed")
    monkeypatch.setattr(check_release.shutil, "which", lambda name: f"/bin/{name}")
    assert check_release.CHECKS[check](project) == check_release.Result("ok", tool)


def test_a_tag_needs_a_key_to_be_signed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setattr(check_release.shutil, "which", lambda name: None)
    assert check_release.check_tag_signature(project).found == "gpg is not installed"
    run_git(project, "config", "gpg.format", "ssh")
    assert check_release.check_tag_signature(project).found == "git has no signing key"
    run_git(project, "config", "user.signingkey", "key")
    assert check_release.check_tag_signature(project) == check_release.Result(
        "ok", "git tag --sign"
    )


@pytest.mark.parametrize(
    ("states", "code"),
    [
        pytest.param(["ok", "ok"], 0, id="ok"),
        pytest.param(["ok", "missing"], 2, id="missing"),
        pytest.param(["missing", "failed"], 1, id="failed"),
    ],
)
def test_the_exit_code_says_the_worst_state(states: list[str], code: int) -> None:
    assert check_release.exit_code(states) == code


def test_one_line_is_printed_per_check_and_nothing_is_changed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.relative_to(project) for path in project.rglob("*"))
    assert check_release.main(project) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(check_release.CHECKS)
    assert lines[0] == "ok      version            1.2.3 of 2026-01-31"
    assert "missing images             build/images.env is not there; make images PUSH=" in lines[7]
    assert sorted(path.relative_to(project) for path in project.rglob("*")) == before


@pytest.mark.parametrize("check", ["lock files", "licence"])
def test_this_repository_passes(check: str) -> None:
    result = check_release.CHECKS[check](ROOT)
    assert result.state == "ok", result.found


def test_this_repository_builds_a_complete_package(tmp_path: Path) -> None:
    check_release.copy_head(ROOT, tmp_path)
    result = check_release.check_package(tmp_path)
    assert result.state == "ok", result.found
