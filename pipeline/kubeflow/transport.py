"""HTTP calls to one Kubeflow Pipelines server: credentials, retries, translated errors.

Built on the generated `kfp_server_api`, not on `kfp.Client`, which prints, keeps a context file in
the home directory and does not retry. Calls that change nothing, or that may be made twice, are
retried while the server is overloaded or unreachable. A call that creates a run or a schedule is
sent once: AmbiguousOutcomeError means that it may have taken effect, and the caller looks before it
tries again.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import kfp_server_api as kfp
from urllib3.exceptions import HTTPError, SSLError

from components.errors import KubertError
from components.redaction import redact_to_line
from components.retrying import RetryPolicy
from pipeline.kubeflow.endpoint import Endpoint
from pipeline.kubeflow.errors import (
    TRANSIENT_STATUS_CODES,
    AmbiguousOutcomeError,
    ApiErrorResponse,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerUnavailableError,
    TransientError,
    describe_connection_error,
    extract_message,
    parse_http_date,
    parse_json_object,
    parse_retry_after,
)

REQUEST_TIMEOUT_SECONDS = (5.0, 30.0)
"""To connect, and between two reads."""
RETRY_TIMEOUT_SECONDS = 60.0
REQUEST_RETRIES = RetryPolicy(
    first_wait_seconds=0.3,
    max_wait_seconds=15.0,
    deadline_seconds=RETRY_TIMEOUT_SECONDS,
    max_attempts=6,
)
PAGE_SIZE = 100
UNAUTHENTICATED_STATUS_CODES = (301, 302, 303, 307, 308, 401)
"""Redirects lead to a sign-in page and are not followed: they would carry the credential away."""
CREATE_TOKEN = (
    "kubectl -n {0.namespace} create token "  # noqa: S105 - a command
    "kubert-submitter --audience pipelines.kubeflow.org"
)
"""Command that prints a token for a multi-user server."""
T = TypeVar("T")
_LOGGER = logging.getLogger(__name__)


class Transport:
    """Sends the generated client's calls to one endpoint; the services share `api_client`."""

    def __init__(
        self,
        endpoint: Endpoint,
        sleep: Callable[[float], None] = time.sleep,
        retry_timeout_seconds: float = RETRY_TIMEOUT_SECONDS,
    ) -> None:
        self._endpoint = endpoint
        self._sleep = sleep
        self._retry_timeout_seconds = retry_timeout_seconds
        self._clock_offset = datetime.timedelta(0)
        settings = kfp.Configuration(host=endpoint.url)
        settings.retries = False  # neither urllib3's own retries nor redirects
        settings.ssl_ca_cert = endpoint.ca_file
        if endpoint.credential == "token":
            settings.api_key = {"authorization": "-"}
            settings.api_key_prefix = {"authorization": "Bearer"}
            settings.refresh_api_key_hook = _build_token_hook(endpoint.read_secret)
        self.api_client = kfp.ApiClient(settings)

    def server_time(self) -> datetime.datetime:
        """The server's time, by the date of its last reply. It dates runs and schedules."""
        return datetime.datetime.now(datetime.UTC) + self._clock_offset

    def call_with_retries(
        self, action: str, call: Callable[..., T], *arguments: Any, **options: Any
    ) -> T:
        """The reply of a call that may be sent twice. Raises ServerUnavailableError."""
        return self._retry(
            action,
            lambda: self._send(
                action,
                lambda: call(*arguments, _request_timeout=REQUEST_TIMEOUT_SECONDS, **options),
            ),
        )

    def call_once(self, action: str, call: Callable[..., T], body: dict[str, Any]) -> T:
        """The reply of a call that creates an object, sent once.

        Raises RateLimitedError if nothing was created, AmbiguousOutcomeError if that is not known.
        """
        try:
            return self._send(action, lambda: call(body, _request_timeout=REQUEST_TIMEOUT_SECONDS))
        except TransientError as error:
            if error.no_effect:
                raise RateLimitedError(
                    f"{self._server_label} is overloaded ({error}); nothing was created",
                    error.retry_after_seconds,
                ) from None
            raise AmbiguousOutcomeError(
                f"{self._server_label} failed to {action}: {error}"
            ) from None

    def find_or_create(
        self, action: str, find: Callable[[], str | None], create: Callable[[], str]
    ) -> str:
        """Id of an object whose name is unique on the server: found, or created with retries.

        A retry looks again first, so an object that a lost reply or another caller created is
        found.
        """
        if found := find():
            return found

        def attempt() -> str:
            try:
                return self._send(action, create)
            except (TransientError, ConflictError):
                if found := find():
                    return found
                raise

        return str(self._retry(action, attempt))

    def list_all(
        self,
        action: str,
        call: Callable[..., Any],
        items: str,
        *arguments: str,
        limit: int | None = None,
        **options: Any,
    ) -> list[Any]:
        """The objects in field `items` of all pages, or the first `limit` of them."""
        found: list[Any] = []
        token = ""
        while True:
            page = self.call_with_retries(
                action,
                call,
                *arguments,
                page_size=min(limit or PAGE_SIZE, PAGE_SIZE),
                page_token=token,
                **options,
            )
            found += getattr(page, items) or []
            token = page.next_page_token or ""
            if not token or (limit is not None and len(found) >= limit):
                return found[:limit]

    def _retry(self, action: str, call: Callable[[], T]) -> T:
        policy = replace(REQUEST_RETRIES, deadline_seconds=self._retry_timeout_seconds)
        retrying = policy.build_retrying(
            TransientError, sleep=self._sleep, requested_wait=_requested_wait
        )
        try:
            return retrying(call)
        except TransientError as error:
            attempts = retrying.statistics["attempt_number"]
            raise ServerUnavailableError(
                f"{self._server_label} failed to {action}: {error} (attempts: {attempts}). "
                "Is the address right and the server up? "
                f"{self._endpoint.url}/apis/v2beta1/healthz should answer"
            ) from None

    def _send(self, action: str, call: Callable[[], T]) -> T:
        """One attempt. Raises TransientError, or an error that another attempt will not mend."""
        # The generated client has no hook for cookies.
        self.api_client.cookie = (
            self._endpoint.read_secret() if self._endpoint.credential == "cookie" else None
        )
        started = time.monotonic()
        try:
            answer = call()
        except kfp.ApiException as error:
            raise self._translate_error(action, error) from None
        except SSLError as error:
            raise self._untrusted_certificate_error(error) from None
        except HTTPError as error:
            raise TransientError(describe_connection_error(error)) from None
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            # The generated client fails like this while it reads a reply that is not the API's, or
            # a TLS error as if it were a reply.
            if isinstance(error.__context__, kfp.ApiException) and not error.__context__.status:
                raise self._untrusted_certificate_error(error.__context__) from None
            raise self._not_an_api_error(
                f"{type(error).__name__} while reading its reply"
            ) from None
        reply = self.api_client.last_response
        _LOGGER.debug("%s: answered after %.2f s", action, time.monotonic() - started)
        content_type = reply.getheader("content-type") or ""
        if "json" not in content_type.lower():
            raise self._not_an_api_error(f"a reply of type {content_type or 'unknown'}")
        if date := parse_http_date(reply.getheader("date") or ""):
            self._clock_offset = date - datetime.datetime.now(datetime.UTC)
        return answer

    def _translate_error(self, action: str, error: ApiErrorResponse) -> Exception:
        status, message = int(error.status or 0), self._remove_secret(extract_message(error))
        if status == 0:
            return self._untrusted_certificate_error(error)
        if status in TRANSIENT_STATUS_CODES:
            return TransientError(
                f"{status} {message}".strip(), parse_retry_after(error), no_effect=status == 429
            )
        if status in UNAUTHENTICATED_STATUS_CODES:
            return self._unauthenticated_error(status, message)
        if status == 403:
            return PermissionDeniedError(
                f"not allowed to {action} at {self._endpoint.url}: {message}\n"
                f"ask for the right in namespace {self._endpoint.namespace} (k8s/ has a role), or "
                "choose another namespace with --namespace"
            )
        if status == 404 and parse_json_object(error) is not None:
            return NotFoundError(f"cannot {action}: {message}")
        if status in (404, 405, 501):
            return self._not_an_api_error(f"{status} for a path of the v2beta1 API")
        kind = ConflictError if status == 409 else InvalidRequestError
        return kind(f"{self._server_label} refuses to {action} ({status}): {message}")

    def _unauthenticated_error(self, status: int, message: str) -> KubertError:
        hints = {
            "token": "the token is missing, expired or issued for another audience",
            "cookie": "the cookie has expired: sign in again and copy the new one",
        }
        hint = hints.get(
            self._endpoint.credential,
            f"no credential was sent: set KUBERT_TOKEN ({CREATE_TOKEN.format(self._endpoint)}) or "
            "KUBERT_COOKIE",
        )
        answer = f"{status}: {message}" if message else str(status)
        return PermissionDeniedError(
            f"{self._server_label} could not authenticate the request ({answer}); {hint}"
        )

    def _not_an_api_error(self, reason: str) -> KubertError:
        return PermissionDeniedError(
            f"{self._endpoint.url} does not answer as a Kubeflow Pipelines API (v2): {reason}. "
            "Is the address right (behind Kubeflow's dashboard it ends in /pipeline), and is the "
            "request authenticated (KUBERT_TOKEN, KUBERT_COOKIE)?"
        )

    def _untrusted_certificate_error(self, error: object) -> KubertError:
        reason = redact_to_line(str(getattr(error, "reason", None) or error))
        return PermissionDeniedError(
            f"{self._endpoint.url}: its certificate is not trusted: {reason}; "
            "set KUBERT_CA to the certificate authority's PEM file"
        )

    def _remove_secret(self, text: str) -> str:
        secret = self._endpoint.read_secret() if self._endpoint.credential != "none" else ""
        return text.replace(secret, "***") if secret else text

    @property
    def _server_label(self) -> str:
        return f"Kubeflow Pipelines at {self._endpoint.url}"


def _build_token_hook(read_secret: Callable[[], str]) -> Callable[[Any], None]:
    def refresh_token(settings: Any) -> None:
        settings.api_key["authorization"] = read_secret()

    return refresh_token


def _requested_wait(error: BaseException) -> float | None:
    return error.retry_after_seconds if isinstance(error, TransientError) else None
