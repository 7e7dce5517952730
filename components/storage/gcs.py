"""Google Cloud Storage as a storage backend."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.storage.backend import (
    STORAGE_RETRIES,
    CorruptError,
    ObjectChecksum,
    ObjectStorageBackend,
    RetryCall,
    TemporaryError,
    error_for_status,
)

REQUEST_TIMEOUT_SECONDS = 60.0
UPLOAD_CHUNK_BYTES = 32 * 2**20
MAX_SINGLE_REQUEST_BYTES = 8 * 2**20
"""Larger files are uploaded in parts: `_MAX_MULTIPART_SIZE` of google.cloud.storage.blob."""
_DAMAGED_UPLOAD = "match calculated CRC32C"
"""Part of the server's answer to an upload that arrived with other bytes than were sent."""
_NO_BUCKET = "bucket does not exist"
"""Part of the server's answer to a request for any object of a bucket that is not there."""
_UPLOAD_SESSION = "upload_id="
"""Part of the URL of an upload in parts; if the server forgot it, the upload starts again."""
EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
_NO_CREDENTIALS = (
    "no Google credentials; run `gcloud auth application-default login`, "
    "or bind the pod's service account to a Google identity"
)


class GcsBackend(ObjectStorageBackend):
    """A Google Cloud Storage bucket; the client verifies CRC32C of uploads and downloads."""

    def __init__(self, bucket: str, prefix: str) -> None:
        super().__init__(prefix)
        from google.cloud import storage

        try:
            with _translated_errors():
                self._client = storage.Client(project=None, client_options=_find_emulator())
        except ValueError as error:
            raise PermissionError(errno.EACCES, str(error)) from None
        # The client would fetch the bucket's metadata with every call, for traces that are off.
        # That needs one more permission, and each refusal appears in the audit log.
        self._client._bucket_metadata_cache = None
        self._bucket = self._client.bucket(bucket)
        self._one_attempt: dict[str, Any] = {"retry": None, "timeout": REQUEST_TIMEOUT_SECONDS}

    def get_size(self, key: str) -> int | None:
        with _translated_errors():
            blob = self._bucket.get_blob(self._prefix + key, **self._one_attempt)
            return None if blob is None else int(blob.size)

    def download_object(self, key: str, local: Path) -> ObjectChecksum:
        with _translated_errors():
            blob = self._bucket.blob(self._prefix + key)
            blob.download_to_filename(
                str(local), raw_download=True, checksum="crc32c", **self._one_attempt
            )
            return ObjectChecksum(None, f"crc32c:{blob.crc32c}" if blob.crc32c else "")

    def upload_object(self, key: str, local: Path, retry: RetryCall) -> None:
        options = self._one_attempt
        if local.stat().st_size > MAX_SINGLE_REQUEST_BYTES:
            options = self._client_retries()

        def attempt() -> None:
            with _translated_errors():
                blob = self._bucket.blob(self._prefix + key, chunk_size=UPLOAD_CHUNK_BYTES)
                blob.upload_from_filename(str(local), checksum="crc32c", **options)

        retry(attempt)

    def create_object(self, key: str, data: bytes) -> bool:
        try:
            with _translated_errors():
                self._bucket.blob(self._prefix + key).upload_from_string(
                    data, if_generation_match=0, checksum="crc32c", **self._one_attempt
                )
        except FileExistsError:
            return False
        return True

    def delete_object(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), _translated_errors():
            self._bucket.blob(self._prefix + key).delete(**self._one_attempt)

    def _list_full_keys(self, prefix: str) -> Iterator[str]:
        with _translated_errors():
            for blob in self._client.list_blobs(
                self._bucket,
                prefix=prefix,
                fields="items(name),nextPageToken",
                **self._one_attempt,
            ):
                yield str(blob.name)

    def _client_retries(self) -> dict[str, Any]:
        """Options with which the client repeats requests itself.

        Only the client can ask the server which bytes of an upload in parts have arrived.
        """
        from google.cloud.storage.retry import DEFAULT_RETRY

        retry = DEFAULT_RETRY.with_delay(
            STORAGE_RETRIES.first_wait_seconds, STORAGE_RETRIES.max_wait_seconds
        ).with_timeout(STORAGE_RETRIES.deadline_seconds)
        return {"retry": retry, "timeout": REQUEST_TIMEOUT_SECONDS}


def _find_emulator() -> dict[str, str] | None:
    """The client's options for the emulator of STORAGE_EMULATOR_HOST; None without one.

    Kubeflow's launcher reads the same variable and takes `host:port` only; Google's client for
    Python takes a URL only. Both forms are accepted here.
    """
    address = os.environ.get(EMULATOR_VARIABLE, "")
    if not address:
        return None
    return {"api_endpoint": address if "://" in address else f"http://{address}"}


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Raise the client's errors as those that `Backend` documents."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except DataCorruption as error:
        raise CorruptError(str(error)) from None
    except (TransportError, RequestException, HTTPError) as error:
        raise TemporaryError(errno.EIO, str(error)) from None
    except DefaultCredentialsError:
        raise PermissionError(errno.EACCES, _NO_CREDENTIALS) from None
    except GoogleAuthError as error:
        raise (
            TemporaryError(errno.EIO, str(error))
            if error.retryable
            else PermissionError(errno.EACCES, str(error))
        ) from None
    except RetryError as error:
        raise TemporaryError(errno.EIO, str(error.cause or error)) from None
    except GoogleAPICallError as error:
        raise _error_for_response(int(error.code or 0), str(error.message)) from None
    except InvalidResponse as error:
        raise _error_for_response(int(error.response.status_code), str(error)) from None


def _error_for_response(status: int, message: str) -> OSError:
    damaged = status == 400 and _DAMAGED_UPLOAD in message
    session_lost = status in (404, 410) and _UPLOAD_SESSION in message
    if damaged or session_lost:
        return TemporaryError(errno.EIO, message)
    if status == 404:  # the client's message is the request's URL
        message = _NO_BUCKET if _NO_BUCKET in message else ""
    return error_for_status(status, message)
