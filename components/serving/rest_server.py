"""TensorFlow Serving's REST API for one model, in this process: predict, status and metadata, for local use and tests.

Users' texts reach the model and the reply, and nothing else: no access log, and no message with a part of a request. A request
that cannot be answered gets a JSON object with `error` and the status that TensorFlow Serving gives; SIGTERM lets those under way end.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from components.errors import KubertError, UsageError
from components.model.serving_model import INPUT_NAME, SIGNATURE_NAME
from components.serving.rest_protocol import (
    BadRequestError,
    build_predict_response,
    parse_predict_request,
)
from components.serving.version_manager import LoadedModel, VersionManager

MAX_BODY_BYTES = 16 * 2**20
MAX_WAITING_REQUESTS = 128
POLL_SECONDS = 1.0
SHUTDOWN_SECONDS = 30.0
_ASKED = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/(?P<by>versions|labels)/(?P<which>[^/:]+))?(?P<what>:predict|:classify|:regress|/metadata)?"
)


class NotFoundError(KubertError):
    """There is no such model or version: HTTP 404."""


class BusyError(KubertError):
    """More requests wait than can be answered soon: HTTP 503."""


_STATUS = {BadRequestError: 400, NotFoundError: 404, BusyError: 503}


def serve(
    directory: Path, name: str | None, host: str, port: int, say: Callable[[str], None]
) -> None:
    """Answer until SIGTERM or SIGINT; what comes into force in `directory` meanwhile takes over within seconds.

    Raises DataError if no version can be loaded to begin with, UsageError if the address cannot be had.
    """
    versions = VersionManager(directory, name, say)
    versions.start()
    asyncio.run(_serve(versions, host, port, say))


async def _serve(
    versions: VersionManager, host: str, port: int, say: Callable[[str], None]
) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = RestServer(versions)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UsageError(f"--host {host} --port {port}: {error.strerror or error}") from None
        loaded = versions.current
        assert loaded is not None
        shown = f"[{host}]" if ":" in host else host
        say(f"answering at http://{shown}:{runner.addresses[0][1]}/v1/models/{loaded.name}:predict")
        watching = asyncio.create_task(_watch(versions))
        await ended.wait()
        say("stopping: requests under way are answered first")
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    finally:
        await runner.cleanup()
        server.close()


async def _watch(versions: VersionManager) -> None:
    with ThreadPoolExecutor(1, "load") as loader:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.get_running_loop().run_in_executor(loader, versions.refresh)


class RestServer:
    """The calls. Inference runs on one thread per core; `MOST_WAITING` requests wait for one, further ones are refused."""

    def __init__(self, versions: VersionManager) -> None:
        self._versions = versions
        self._cores = len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._cores, "predict")
        self._waiting = 0

    def application(self) -> web.Application:
        """The HTTP application; bodies over `LARGEST_BODY` bytes are refused with 413."""
        application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_told])
        application.router.add_get("/healthz", self._health)
        application.router.add_route("*", "/v1/{_:.*}", self._v1)
        return application

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    async def _health(self, _request: web.Request) -> web.Response:
        loaded = self._loaded()
        return _json({"status": "ok", "model": loaded.name, "version": loaded.candidate.number})

    async def _v1(self, request: web.Request) -> web.Response:
        asked = _ASKED.fullmatch(request.path)
        posted = asked is not None and (asked["what"] or "").startswith(":")
        if asked is None or request.method != ("POST" if posted else "GET"):
            raise BadRequestError(f"Malformed request: {request.method} {request.path[:200]}")
        loaded = self._find(asked["model"], asked["by"], asked["which"], status=not asked["what"])
        match asked["what"]:
            case None:
                return _json(self._status(asked["which"]))
            case "/metadata":
                told = {
                    "name": loaded.name,
                    "signature_name": "",
                    "version": str(loaded.candidate.number),
                }
                return _json({"model_spec": told, "metadata": {"signature_def": loaded.signatures}})
            case ":predict":
                return web.json_response(text=await self._answer(loaded, await request.read()))
            case method:
                kind = {":classify": "classification", ":regress": "regression"}[method]
                raise BadRequestError(
                    f"Expected {kind} signature method_name to be tensorflow/serving/{method[1:]}. Was: tensorflow/serving/predict; call :predict"
                )

    def _loaded(self) -> LoadedModel:
        loaded = self._versions.current
        if loaded is None:
            raise BusyError("no version is loaded yet")
        return loaded

    def _find(self, model: str, by: str | None, which: str | None, status: bool) -> LoadedModel:
        loaded = self._loaded()
        if by == "versions" and not str(which).isdecimal():
            raise BadRequestError(f"Failed to convert version: {str(which)[:100]} to numeric.")
        if by == "labels" and model == loaded.name:
            raise BadRequestError(f"Unrecognized servable version label: {str(which)[:100]}")
        if model != loaded.name:
            raise NotFoundError(
                f"Could not find any versions of model {model[:100]}"
                if status
                else f"Servable not found for request: Latest({model[:100]})"
            )
        if by == "versions":
            number = int(str(which)[:20])
            if status and number not in self._versions.states():
                raise NotFoundError(f"Could not find version {number} of model {model}")
            if not status and number != loaded.candidate.number:
                raise NotFoundError(f"Servable not found for request: Specific({model}, {number})")
        return loaded

    def _status(self, which: str | None) -> dict[str, Any]:
        return {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": "OK", "error_message": ""},
                }
                for number, state in self._versions.states().items()
                if which is None or number == int(which)
            ]
        }

    async def _answer(self, loaded: LoadedModel, body: bytes) -> str:
        if self._waiting >= self._cores + MAX_WAITING_REQUESTS:
            raise BusyError(f"{self._waiting} requests are waiting; try again later")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, _predict, loaded, body
            )
        finally:
            self._waiting -= 1


def _predict(loaded: LoadedModel, body: bytes) -> str:
    request = parse_predict_request(body, SIGNATURE_NAME, INPUT_NAME)
    return json.dumps(build_predict_response(loaded.answer(request.texts), request.form))


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(text=json.dumps(value, indent=1), status=status)


@web.middleware
async def _told(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Every failure as a JSON object with `error`; of one that nobody foresaw the log has the type and place, not the message."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        return _json({"error": error.reason}, error.status)
    except KubertError as error:
        return _json({"error": str(error)}, _STATUS.get(type(error), 500))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        print(
            f"unexpected {type(error).__name__} at {Path(place.filename).name}:{place.lineno}",
            file=sys.stderr,
            flush=True,
        )
        return _json({"error": f"internal error ({type(error).__name__})"}, 500)
    return response
