"""S3, or any service with the same API, as a storage backend."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.storage.atomic_files import file_sha256
from components.storage.backend import (
    CorruptError,
    ObjectChecksum,
    ObjectStorageBackend,
    RetryCall,
    TemporaryError,
    error_for_status,
)

CONNECT_TIMEOUT_SECONDS = 10.0
REQUEST_TIMEOUT_SECONDS = 60.0
MAX_CONNECTIONS = 32
UPLOAD_PART_BYTES = 16 * 2**20
"""Larger files are uploaded in parts of this size."""
KUBEFLOW_ENDPOINT = "http://seaweedfs.kubeflow:9000"
"""Default of Kubeflow Pipelines >= 2.16 for minio:// (backend/src/v2/objectstore/config.go)."""
KUBEFLOW_REGION = "minio"
_BLOCK_BYTES = 2**20
_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_DAMAGED_UPLOAD_CODES = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
        "IncompleteBody",
        "RequestTimeout",
    }
)
_NO_CREDENTIALS = (
    "no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for pods by cluster.storage_secret"
)


class ExpiredTokenError(TemporaryError):
    """The session token has expired; a new client reads new credentials."""


class S3Backend(ObjectStorageBackend):
    """A bucket of S3 or of a service with the same API.

    Objects that kubert uploads carry their SHA-256 as metadata, which downloads are verified
    against. `kubeflow` means a bucket of the object store that is part of Kubeflow Pipelines,
    unless AWS_ENDPOINT_URL is set.
    """

    def __init__(self, bucket: str, prefix: str, *, kubeflow: bool = False) -> None:
        super().__init__(prefix)
        self._bucket = bucket
        self._kubeflow = kubeflow
        self._session_token = ""
        self._custom_endpoint = False
        self._client = self._new_client()
        # AWS is known to honour If-None-Match; any other service is tested at the first write.
        self._conditional_writes_verified = not self._custom_endpoint

    def get_size(self, key: str) -> int | None:
        try:
            return int(self._call("head_object", Key=self._prefix + key)["ContentLength"])
        except FileNotFoundError:
            return None

    def download_object(self, key: str, local: Path) -> ObjectChecksum:
        answer = self._call("get_object", Key=self._prefix + key)
        with (
            _translated_errors(),
            contextlib.closing(answer["Body"]) as body,
            open(local, "wb") as stream,
        ):
            for block in body.iter_chunks(_BLOCK_BYTES):
                stream.write(block)
        digest = answer.get("Metadata", {}).get("sha256", "")
        return ObjectChecksum(int(answer["ContentLength"]), f"sha256:{digest}" if digest else "")

    def upload_object(self, key: str, local: Path, retry: RetryCall) -> None:
        digest = file_sha256(local)
        if local.stat().st_size <= UPLOAD_PART_BYTES:
            data = local.read_bytes()
            retry(lambda: self._send("put_object", key, data, Metadata={"sha256": digest}))
        else:
            self._upload_in_parts(key, local, digest, retry)

    def create_object(self, key: str, data: bytes) -> bool:
        created = self._create_if_absent(key, data)
        if created and not self._conditional_writes_verified:
            if self._create_if_absent(key, data):
                raise OSError(
                    errno.ENOTSUP,
                    "this service ignores If-None-Match, so that two publishers could overwrite "
                    "each other; update it",
                )
            self._conditional_writes_verified = True
        return created

    def delete_object(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call("delete_object", Key=self._prefix + key)

    def _list_full_keys(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **token)
            yield from (str(entry["Key"]) for entry in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _upload_in_parts(self, key: str, local: Path, digest: str, retry: RetryCall) -> None:
        created = retry(
            lambda: self._call(
                "create_multipart_upload", Key=self._prefix + key, Metadata={"sha256": digest}
            )
        )
        upload = {"UploadId": created["UploadId"]}
        try:
            parts: list[dict[str, Any]] = []
            with open(local, "rb") as stream:
                while block := stream.read(UPLOAD_PART_BYTES):
                    number = len(parts) + 1
                    answer = retry(self._part_sender(key, block, PartNumber=number, **upload))
                    parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            retry(
                lambda: self._complete_upload(
                    key, digest, MultipartUpload={"Parts": parts}, **upload
                )
            )
        except BaseException:
            with contextlib.suppress(OSError):
                self._call("abort_multipart_upload", Key=self._prefix + key, **upload)
            raise

    def _part_sender(self, key: str, block: bytes, **arguments: Any) -> Callable[[], Any]:
        return lambda: self._send("upload_part", key, block, **arguments)

    def _complete_upload(self, key: str, digest: str, **arguments: Any) -> None:
        try:
            self._call("complete_multipart_upload", Key=self._prefix + key, **arguments)
        except FileNotFoundError:
            # The upload is gone: an earlier attempt, whose reply was lost, may have completed it.
            found = self._call("head_object", Key=self._prefix + key)
            if found.get("Metadata", {}).get("sha256") != digest:
                raise

    def _create_if_absent(self, key: str, data: bytes) -> bool:
        metadata = {"sha256": hashlib.sha256(data).hexdigest()}
        try:
            self._send("put_object", key, data, Metadata=metadata, IfNoneMatch="*")
        except FileExistsError:
            return False
        return True

    def _send(self, operation: str, key: str, data: bytes, **arguments: Any) -> Any:
        if self._custom_endpoint:
            digest = hashlib.md5(data, usedforsecurity=False).digest()
            arguments["ContentMD5"] = base64.b64encode(digest).decode()
        return self._call(operation, Key=self._prefix + key, Body=data, **arguments)

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            with _translated_errors():
                return getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        except ExpiredTokenError as error:
            expired = self._session_token
            self._client = self._new_client()
            if self._session_token == expired:
                raise PermissionError(errno.EACCES, error.strerror) from None
            raise

    def _new_client(self) -> Any:
        """A client with the credentials that are available now; sets _session_token."""
        from botocore.config import Config
        from botocore.session import Session

        endpoint = (
            os.environ.get("AWS_ENDPOINT_URL_S3")
            or os.environ.get("AWS_ENDPOINT_URL")
            or (KUBEFLOW_ENDPOINT if self._kubeflow else None)
        )
        region = (
            os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
            or (KUBEFLOW_REGION if self._kubeflow else None)
        )
        self._custom_endpoint = endpoint is not None
        # Services other than AWS have no host name per bucket, and not all of them know the newer
        # checksums.
        options: dict[str, Any] = {}
        if self._custom_endpoint:
            options = {
                "s3": {"addressing_style": "path"},
                "request_checksum_calculation": "when_required",
            }
        config = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=REQUEST_TIMEOUT_SECONDS,
            max_pool_connections=MAX_CONNECTIONS,
            response_checksum_validation="when_required",
            **options,
        )
        with _translated_errors():
            session = Session()
            credentials = session.get_credentials()
            frozen = credentials.get_frozen_credentials() if credentials else None
            self._session_token = (frozen.token or "") if frozen else ""
            return session.create_client(
                "s3", endpoint_url=endpoint, region_name=region, config=config
            )


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Raise botocore's errors as those that `Backend` documents."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _error_for_response(error.response) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise PermissionError(errno.EACCES, _NO_CREDENTIALS) from None
    except exceptions.CredentialRetrievalError as error:
        raise PermissionError(errno.EACCES, str(error)) from None
    except exceptions.FlexibleChecksumError as error:
        raise CorruptError(str(error)) from None
    except (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        exceptions.MetadataRetrievalError,
    ) as error:
        raise TemporaryError(errno.EIO, str(error)) from None
    except (exceptions.BotoCoreError, ValueError) as error:
        raise OSError(errno.EINVAL, str(error)) from None


def _error_for_response(response: dict[str, Any]) -> OSError:
    error = response.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    text = f"{code}: {message}"
    if code in _EXPIRED_CODES:
        return ExpiredTokenError(errno.EACCES, text)
    if code in _DAMAGED_UPLOAD_CODES:
        return TemporaryError(errno.EIO, text)
    return error_for_status(int(response["ResponseMetadata"]["HTTPStatusCode"]), text)
