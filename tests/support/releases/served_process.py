"""`kubert serve` as a process of its own, and calls to it over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Served:
    """A running server of the versions in a directory; `lines` has all that it printed."""

    def __init__(self, directory: Path, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "pipeline.cli",
            "serve",
            str(directory),
            "--port",
            "0",
            *options,
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = self.wait_for("answering at ", 120)
        found = re.search(r":(\d+)/", line)
        assert found is not None
        self.port = int(found[1])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text: str, seconds: float = 60) -> str:
        deadline = time.monotonic() + seconds
        while True:
            for line in list(self.lines):
                if text in line:
                    return line
            assert time.monotonic() < deadline and self._reader.is_alive(), (
                f"{text!r} never came: {self.lines}"
            )
            time.sleep(0.05)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and the reply's JSON value; `body` is bytes, or a value that is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(
                method,
                path,
                body if body is None or isinstance(body, bytes) else json.dumps(body).encode(),
            )
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def predict(self, *texts: Any, model: str = "news") -> tuple[int, Any]:
        return self.call("POST", f"/v1/models/{model}:predict", {"instances": list(texts)})

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        return code
