"""The REST server of `kubert serve` in a thread of this process, which is sooner there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from components.serving.rest_server import RestServer
from components.serving.version_manager import VersionManager


@contextmanager
def run_rest_service(directory: Path, name: str) -> Iterator[int]:
    """Serve the versions in a directory on a free port while the block runs; the port."""
    versions = VersionManager(directory, name)
    versions.start()
    server = RestServer(versions)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(server.build_application(), access_log=None)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        server.close()
