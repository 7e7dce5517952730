"""Read access to a Kubernetes API server for the checks, with a timeout on each request.

The kubernetes package is imported on first use: a missing package is then a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from components.errors import KubertError
from components.kubernetes_client import describe_api_error, new_api_client
from pipeline.doctor import MAX_REASON_CHARACTERS, Finding

CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS = 4.0, 8.0
MIN_VERSION = (1, 29)


class ApiRequestError(KubertError):
    """The API server refused a request with an HTTP status other than 404."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the API server refuses the request with {status}: {reason}")
        self.status = status
        self.reason = reason


class Reader(Protocol):
    """What the checks need of an API server."""

    def get(self, path: str) -> Any:
        """The JSON value at a path; None for 404. Raises ApiRequestError for other errors."""

    def post(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> Any:
        """The answer to a POST request, like `get`; with `dry_run` nothing is created."""


class PodClient(Reader, Protocol):
    """What the probe of the stores needs, too."""

    def get_text(self, path: str) -> str:
        """The text at a path, such as a pod's log; empty for 404."""

    def delete(self, path: str) -> None:
        """Delete the object at a path; nothing happens if there is none."""


class ClusterReader:
    """The API server of the cluster that `components.kubernetes_client` finds."""

    @cached_property
    def _client(self) -> Any:
        return new_api_client(connection_retries=False)

    def get(self, path: str) -> Any:
        """See `Reader`."""
        return self._request("GET", path, None)

    def post(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> Any:
        """See `Reader`."""
        return self._request("POST", path, body, [("dryRun", "All")] if dry_run else [])

    def get_text(self, path: str) -> str:
        """See `Reader`."""
        return str(self._request("GET", path, None, response_type="str") or "")

    def delete(self, path: str) -> None:
        """See `Reader`."""
        self._request("DELETE", path, None)

    def check_api_server(self) -> Finding:
        """The API server answers and is new enough."""
        from urllib3.exceptions import HTTPError

        host = self._client.configuration.host
        try:
            version = self.get("/version")
        except HTTPError as error:
            return Finding.missing(
                f"{host}: {type(error).__name__}",
                "check that the cluster runs and that the context is the right one",
            )
        except ApiRequestError as error:
            return Finding.missing(f"{host}: {error}", "check the credentials of the context")
        message = f"{version['gitVersion']} at {host}"
        minor = int("".join(filter(str.isdigit, version["minor"])) or 0)
        if (int(version["major"]), minor) < MIN_VERSION:
            return Finding.missing(message, "use Kubernetes 1.29 or newer")
        return Finding.ok(message)

    def _request(
        self,
        method: str,
        path: str,
        body: Any,
        query: list[tuple[str, str]] | None = None,
        response_type: str = "object",
    ) -> Any:
        from kubernetes.client import ApiException

        try:
            return self._client.call_api(
                path,
                method,
                body=body,
                query_params=query or [],
                response_type=response_type,
                auth_settings=["BearerToken"],
                header_params={
                    "Accept": "application/json, */*",
                    "Content-Type": "application/json",
                },
                _return_http_data_only=True,
                _request_timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
            )
        except ApiException as error:
            if error.status == 404:
                return None
            reason = describe_api_error(error)[:MAX_REASON_CHARACTERS]
            raise ApiRequestError(error.status, reason) from None


def run_api_check(check: Callable[..., Finding], *arguments: Any) -> Finding:
    """Run a check; a refused request is a warning if this account lacks the right to ask."""
    try:
        return check(*arguments)
    except ApiRequestError as error:
        if error.status in (401, 403):
            return Finding.warning(
                "this account has no right to check it",
                "ask someone who has the right, or ask for the right",
            )
        return Finding.missing(str(error), "")
