"""S3, or any service that speaks it, as a store."""

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
from components.storage.backend import Again, Claim, CorruptError, Remote, TemporaryError, by_status

TIMEOUT = 60.0
PART = 16 * 2**20
KUBEFLOW = "http://seaweedfs.kubeflow:9000"
"""Where the launcher of Kubeflow Pipelines looks for minio:// (backend/src/v2/objectstore/config.go, 2.16 and newer)."""
KUBEFLOW_REGION = "minio"
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
DAMAGED = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
        "IncompleteBody",
        "RequestTimeout",
    }
)
NO_KEYS = (
    "no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for pods by cluster.storage_secret"
)


class Amazon(Remote):
    """An S3 bucket, or any service that speaks S3. What kubert uploads carries its SHA-256 as metadata and is checked by it.

    `kubeflow` means a bucket of the service that Kubeflow Pipelines brings along, unless AWS_ENDPOINT_URL names another.
    """

    def __init__(self, bucket: str, prefix: str, *, kubeflow: bool = False) -> None:
        super().__init__(prefix)
        self._bucket = bucket
        self._kubeflow = kubeflow
        self._token = ""
        self._client = self._connect()
        self._trusted = not self._elsewhere

    def _connect(self) -> Any:
        """A client with credentials that were looked up anew."""
        from botocore.config import Config
        from botocore.session import Session

        endpoint = (
            os.environ.get("AWS_ENDPOINT_URL_S3")
            or os.environ.get("AWS_ENDPOINT_URL")
            or (KUBEFLOW if self._kubeflow else None)
        )
        region = (
            os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
            or (KUBEFLOW_REGION if self._kubeflow else None)
        )
        self._elsewhere = endpoint is not None
        # Services other than AWS know no names of buckets in the host, and not all of them the newer checksums.
        other = (
            {"s3": {"addressing_style": "path"}, "request_checksum_calculation": "when_required"}
            if endpoint
            else {}
        )
        config = Config(
            retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=TIMEOUT, max_pool_connections=32,
            response_checksum_validation="when_required", **other,
        )  # fmt: skip
        with _amazon_errors():
            session = Session()
            credentials = session.get_credentials()
            self._token = credentials.get_frozen_credentials().token or "" if credentials else ""
            return session.create_client(
                "s3", endpoint_url=endpoint, region_name=region, config=config
            )

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            with _amazon_errors():
                return getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        except ExpiredError as error:
            before = self._token
            self._client = self._connect()
            if self._token == before:
                raise PermissionError(errno.EACCES, error.strerror) from None
            raise

    def size(self, key: str) -> int | None:
        try:
            return int(self._call("head_object", Key=self._prefix + key)["ContentLength"])
        except FileNotFoundError:
            return None

    def _all(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **token)
            yield from (str(entry["Key"]) for entry in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def get(self, key: str, local: Path) -> Claim:
        answer = self._call("get_object", Key=self._prefix + key)
        with (
            _amazon_errors(),
            contextlib.closing(answer["Body"]) as body,
            open(local, "wb") as stream,
        ):
            for block in body.iter_chunks(2**20):
                stream.write(block)
        digest = answer.get("Metadata", {}).get("sha256", "")
        return Claim(int(answer["ContentLength"]), f"sha256:{digest}" if digest else "")

    def put(self, key: str, local: Path, again: Again) -> None:
        digest = file_sha256(local)
        metadata = {"Metadata": {"sha256": digest}}
        if local.stat().st_size <= PART:
            data = local.read_bytes()
            again(lambda: self._send("put_object", key, data, **metadata))
            return
        upload = {
            "UploadId": again(
                lambda: self._call("create_multipart_upload", Key=self._prefix + key, **metadata)
            )["UploadId"]
        }
        try:
            parts: list[dict[str, Any]] = []
            with open(local, "rb") as stream:
                while block := stream.read(PART):
                    number = len(parts) + 1
                    answer = again(
                        self._sending("upload_part", key, block, PartNumber=number, **upload)
                    )
                    parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            again(lambda: self._finish(key, digest, MultipartUpload={"Parts": parts}, **upload))
        except BaseException:
            with contextlib.suppress(OSError):
                self._call("abort_multipart_upload", Key=self._prefix + key, **upload)
            raise

    def _send(self, operation: str, key: str, data: bytes, **arguments: Any) -> Any:
        if self._elsewhere:
            arguments["ContentMD5"] = base64.b64encode(
                hashlib.md5(data, usedforsecurity=False).digest()
            ).decode()
        return self._call(operation, Key=self._prefix + key, Body=data, **arguments)

    def _sending(
        self, operation: str, key: str, data: bytes, **arguments: Any
    ) -> Callable[[], Any]:
        return lambda: self._send(operation, key, data, **arguments)

    def _finish(self, key: str, digest: str, **arguments: Any) -> None:
        try:
            self._call("complete_multipart_upload", Key=self._prefix + key, **arguments)
        except FileNotFoundError:
            # The upload is gone: an earlier attempt, whose reply was lost, may have completed it.
            if (
                self._call("head_object", Key=self._prefix + key).get("Metadata", {}).get("sha256")
                != digest
            ):
                raise

    def create(self, key: str, data: bytes) -> bool:
        created = self._create(key, data)
        if created and not self._trusted:
            if self._create(key, data):
                raise OSError(
                    errno.ENOTSUP,
                    "this service ignores If-None-Match, so that two publishers could overwrite each other; update it",
                )
            self._trusted = True
        return created

    def _create(self, key: str, data: bytes) -> bool:
        try:
            self._send(
                "put_object",
                key,
                data,
                Metadata={"sha256": hashlib.sha256(data).hexdigest()},
                IfNoneMatch="*",
            )
        except FileExistsError:
            return False
        return True

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call("delete_object", Key=self._prefix + key)


class ExpiredError(TemporaryError):
    """The session token has expired before its time."""


@contextmanager
def _amazon_errors() -> Iterator[None]:
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        code, message = (
            str(error.response.get("Error", {}).get(part, "")) for part in ("Code", "Message")
        )
        status, text = (
            int(error.response["ResponseMetadata"]["HTTPStatusCode"]),
            f"{code}: {message}",
        )
        if code in EXPIRED:
            raise ExpiredError(errno.EACCES, text) from None
        if code in DAMAGED:
            raise TemporaryError(errno.EIO, text) from None
        raise by_status(status, text) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise PermissionError(errno.EACCES, NO_KEYS) from None
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
