"""TensorFlow Serving's REST API for one model, in this process: predict, status and metadata.

For local use and tests. Users' texts reach the model and the reply, and nothing else: there is no
access log, and no message contains a part of a request. A request that cannot be answered gets a
JSON object with `error` and TensorFlow Serving's status code. SIGTERM lets requests in flight
finish.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from components.errors import KubertError, UsageError
from components.model.serving_model import SIGNATURE_NAME
from components.serving.rest_protocol import (
    BadRequestError,
    build_predict_response,
    parse_predict_request,
)
from components.serving.version_manager import LoadedModel, VersionManager

MAX_BODY_BYTES = 16 * 2**20
MAX_WAITING_REQUESTS = 128
MAX_ECHOED_CHARACTERS = 100
MAX_ECHOED_PATH_CHARACTERS = 200
POLL_SECONDS = 1.0
SHUTDOWN_SECONDS = 30.0
ROUTE = re.compile(
    r"/v1/models/(?P<model>[^/:]+)"
    r"(?:/(?P<selector>versions|labels)/(?P<selected>[^/:]+))?"
    r"(?P<call>:predict|:classify|:regress|/metadata)?"
)

logger = logging.getLogger(__name__)


class NotFoundError(KubertError):
    """There is no such model or version: HTTP 404."""


class BusyError(KubertError):
    """More requests wait than can be answered soon: HTTP 503."""


HTTP_STATUS = {BadRequestError: 400, NotFoundError: 404, BusyError: 503}


def serve(directory: Path, name: str | None, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; a new version in `directory` takes over within seconds.

    Raises DataError if no version can be loaded at the start, UsageError if the address is not
    available.
    """
    versions = VersionManager(directory, name)
    loaded = versions.start()
    asyncio.run(_serve(versions, loaded.name, host, port))


async def _serve(versions: VersionManager, name: str, host: str, port: int) -> None:
    stop_requested = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    server = RestServer(versions)
    runner = web.AppRunner(
        server.build_application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UsageError(f"--host {host} --port {port}: {error.strerror or error}") from None
        url_host = f"[{host}]" if ":" in host else host
        url = f"http://{url_host}:{runner.addresses[0][1]}/v1/models/{name}:predict"
        logger.info("answering at %s", url)
        polling = asyncio.create_task(_poll_versions(versions))
        await stop_requested.wait()
        logger.info("stopping: requests under way are answered first")
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling
    finally:
        await runner.cleanup()
        server.close()


async def _poll_versions(versions: VersionManager) -> None:
    with ThreadPoolExecutor(1, "load") as loader:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.get_running_loop().run_in_executor(loader, versions.refresh)


class RestServer:
    """The HTTP handlers; inference runs on one thread per core.

    At most `MAX_WAITING_REQUESTS` requests wait for a thread; further ones are refused.
    """

    def __init__(self, versions: VersionManager) -> None:
        self._versions = versions
        self._threads = len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, "predict")
        self._accepted_requests = 0

    def build_application(self) -> web.Application:
        """The HTTP application; bodies over `MAX_BODY_BYTES` are refused with 413."""
        application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[errors_as_json])
        application.router.add_get("/healthz", self._handle_health)
        application.router.add_route("*", "/v1/{_:.*}", self._handle_request)
        return application

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()

    async def _handle_health(self, _request: web.Request) -> web.Response:
        loaded = self._require_loaded()
        return _json_response({"status": "ok", "model": loaded.name, "version": loaded.version})

    async def _handle_request(self, request: web.Request) -> web.Response:
        route = ROUTE.fullmatch(request.path)
        is_post = route is not None and (route["call"] or "").startswith(":")
        if route is None or request.method != ("POST" if is_post else "GET"):
            path = request.path[:MAX_ECHOED_PATH_CHARACTERS]
            raise BadRequestError(f"Malformed request: {request.method} {path}")
        loaded = self._find_model(route)
        match route["call"]:
            case None:
                return _json_response(self._describe_states(route["selected"]))
            case "/metadata":
                return _json_response(_describe_model(loaded))
            case ":predict":
                return web.json_response(
                    text=await self._run_prediction(loaded, await request.read())
                )
            case call:
                kind = {":classify": "classification", ":regress": "regression"}[call]
                raise BadRequestError(
                    f"Expected {kind} signature method_name to be tensorflow/serving/{call[1:]}. "
                    "Was: tensorflow/serving/predict; call :predict"
                )

    def _require_loaded(self) -> LoadedModel:
        loaded = self._versions.current
        if loaded is None:
            raise BusyError("no version is loaded yet")
        return loaded

    def _find_model(self, route: re.Match[str]) -> LoadedModel:
        """The model that a route addresses; BadRequestError or NotFoundError for any other."""
        loaded = self._require_loaded()
        is_status = not route["call"]
        model = route["model"]
        selector, selected = route["selector"], str(route["selected"])
        echoed = selected[:MAX_ECHOED_CHARACTERS]
        if selector == "versions" and not selected.isdecimal():
            raise BadRequestError(f"Failed to convert version: {echoed} to numeric.")
        if selector == "labels" and model == loaded.name:
            raise BadRequestError(f"Unrecognized servable version label: {echoed}")
        if model != loaded.name:
            name = model[:MAX_ECHOED_CHARACTERS]
            raise NotFoundError(
                f"Could not find any versions of model {name}"
                if is_status
                else f"Servable not found for request: Latest({name})"
            )
        if selector == "versions":
            number = int(selected[:20])
            if is_status and number not in self._versions.list_states():
                raise NotFoundError(f"Could not find version {number} of model {model}")
            if not is_status and number != loaded.version:
                raise NotFoundError(f"Servable not found for request: Specific({model}, {number})")
        return loaded

    def _describe_states(self, selected: str | None) -> dict[str, Any]:
        return {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": "OK", "error_message": ""},
                }
                for number, state in self._versions.list_states().items()
                if selected is None or number == int(selected)
            ]
        }

    async def _run_prediction(self, loaded: LoadedModel, body: bytes) -> str:
        if self._accepted_requests >= self._threads + MAX_WAITING_REQUESTS:
            raise BusyError(f"{self._accepted_requests} requests are waiting; try again later")
        self._accepted_requests += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, _answer_request, loaded, body
            )
        finally:
            self._accepted_requests -= 1


def _answer_request(loaded: LoadedModel, body: bytes) -> str:
    request = parse_predict_request(body, SIGNATURE_NAME, loaded.scorer.inputs)
    return json.dumps(build_predict_response(loaded.predict(request.rows), request.form))


def _describe_model(loaded: LoadedModel) -> dict[str, Any]:
    model_spec = {"name": loaded.name, "signature_name": "", "version": str(loaded.version)}
    return {"model_spec": model_spec, "metadata": {"signature_def": loaded.signatures}}


def _json_response(payload: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(text=json.dumps(payload, indent=1), status=status)


@web.middleware
async def errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Any]
) -> web.StreamResponse:
    """Turn every failure into a JSON object with `error`.

    Of an unexpected one the type and the code location are logged, not the message, which may
    contain a part of the request.
    """
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        return _json_response({"error": error.reason}, error.status)
    except KubertError as error:
        return _json_response({"error": str(error)}, HTTP_STATUS.get(type(error), 500))
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(error).__name__
        logger.error("unexpected %s at %s:%s", kind, Path(frame.filename).name, frame.lineno)
        return _json_response({"error": f"internal error ({kind})"}, 500)
    return response
