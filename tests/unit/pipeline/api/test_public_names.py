"""What `import kubert` promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kubert

GUIDE = Path(__file__).parents[4] / "docs" / "user-guide" / "python-api.md"


def test_every_public_name_is_there_documented_and_in_the_guide() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    for name in kubert.__all__:
        value = getattr(kubert, name)
        assert name == "__version__" or value.__doc__, name
        assert f"`{name}" in guide or f"kubert.{name}" in guide, name


def test_the_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, kubert; "
        "print(sorted({'tensorflow', 'kfp', 'kfp_server_api', 'IPython'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
