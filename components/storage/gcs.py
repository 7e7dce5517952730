"""Google Cloud Storage as a store."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.storage.backend import (
    DEADLINE,
    FIRST_WAIT,
    LONGEST_WAIT,
    Again,
    Claim,
    CorruptError,
    Remote,
    TemporaryError,
    by_status,
)

TIMEOUT = 60.0
PART = 32 * 2**20
DAMAGED = "match calculated CRC32C"
"""Part of the server's answer to an upload that arrived with other bytes than were sent."""
SESSION = "upload_id="
"""Part of the address of an upload in parts. Where it is not found, the upload has to begin anew."""
NO_CREDENTIALS = "no Google credentials; run `gcloud auth application-default login`, or give the pod's account a Google identity"
WHOLE = 8 * 2**20
"""Larger files go up in parts; the client decides so (google.cloud.storage.blob._MAX_MULTIPART_SIZE)."""


class Google(Remote):
    """A Google Cloud Storage bucket; its client checks CRC32C on the way up and down."""

    def __init__(self, bucket: str, prefix: str) -> None:
        super().__init__(prefix)
        from google.cloud import storage

        try:
            with _google_errors():
                self._client = storage.Client(project=None)
        except ValueError as error:
            raise PermissionError(errno.EACCES, str(error)) from None
        # It would ask for the bucket's metadata behind every call's back, for traces that are off: one more right, and refusals in the audit log.
        self._client._bucket_metadata_cache = None
        self._bucket = self._client.bucket(bucket)
        self._once: dict[str, Any] = {"retry": None, "timeout": TIMEOUT}

    def size(self, key: str) -> int | None:
        with _google_errors():
            blob = self._bucket.get_blob(self._prefix + key, **self._once)
            return None if blob is None else int(blob.size)

    def _all(self, prefix: str) -> Iterator[str]:
        with _google_errors():
            for blob in self._client.list_blobs(
                self._bucket, prefix=prefix, fields="items(name),nextPageToken", **self._once
            ):
                yield str(blob.name)

    def get(self, key: str, local: Path) -> Claim:
        with _google_errors():
            blob = self._bucket.blob(self._prefix + key)
            blob.download_to_filename(
                str(local), raw_download=True, checksum="crc32c", **self._once
            )
            return Claim(None, f"crc32c:{blob.crc32c}" if blob.crc32c else "")

    def put(self, key: str, local: Path, again: Again) -> None:
        from google.cloud.storage.retry import DEFAULT_RETRY

        # What the server has of a file in parts, only the client can ask it; so the client itself repeats these calls.
        large = local.stat().st_size > WHOLE
        how = (
            {
                "retry": DEFAULT_RETRY.with_delay(FIRST_WAIT, LONGEST_WAIT).with_timeout(DEADLINE),
                "timeout": TIMEOUT,
            }
            if large
            else self._once
        )

        def attempt() -> None:
            with _google_errors():
                blob = self._bucket.blob(self._prefix + key, chunk_size=PART)
                blob.upload_from_filename(str(local), checksum="crc32c", **how)

        again(attempt)

    def create(self, key: str, data: bytes) -> bool:
        try:
            with _google_errors():
                self._bucket.blob(self._prefix + key).upload_from_string(
                    data, if_generation_match=0, checksum="crc32c", **self._once
                )
        except FileExistsError:
            return False
        return True

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), _google_errors():
            self._bucket.blob(self._prefix + key).delete(**self._once)


@contextmanager
def _google_errors() -> Iterator[None]:
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
        raise PermissionError(errno.EACCES, NO_CREDENTIALS) from None
    except GoogleAuthError as error:
        raise (
            TemporaryError(errno.EIO, str(error))
            if error.retryable
            else PermissionError(errno.EACCES, str(error))
        ) from None
    except RetryError as error:
        raise TemporaryError(errno.EIO, str(error.cause or error)) from None
    except GoogleAPICallError as error:
        raise _by_status(int(error.code or 0), str(error.message)) from None
    except InvalidResponse as error:
        raise _by_status(int(error.response.status_code), str(error)) from None


def _by_status(status: int, message: str) -> OSError:
    if (status == 400 and DAMAGED in message) or (status in (404, 410) and SESSION in message):
        return TemporaryError(errno.EIO, message)
    return by_status(status, message)
