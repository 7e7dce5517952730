"""S3, or any service that speaks it, as a store."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.artifacts.manifest import file_sha256
from components.artifacts.store.backend import Claim, Remote, TemporaryError, by_status

TIMEOUT = 60.0


class Amazon(Remote):
    """An S3 bucket, or any service that speaks S3. What kubert uploads carries its SHA-256 as metadata and is checked by it."""

    def __init__(self, bucket: str, prefix: str) -> None:
        super().__init__(prefix)
        import s3fs

        limits = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": TIMEOUT}
        self._files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False, config_kwargs=limits)
        self._files.retries = 1
        self._bucket = bucket

    def _call(self, operation: str, **arguments: Any) -> Any:
        with _amazon_errors():
            return self._files.call_s3(operation, Bucket=self._bucket, **arguments)

    def _head(self, key: str) -> Any:
        return self._call("head_object", Key=self._prefix + key)

    def size(self, key: str) -> int | None:
        try:
            return int(self._head(key)["ContentLength"])
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
        head = self._head(key)
        with _amazon_errors():
            self._files.get_file(f"{self._bucket}/{self._prefix}{key}", str(local))
        digest = head.get("Metadata", {}).get("sha256", "")
        return Claim(int(head["ContentLength"]), f"sha256:{digest}" if digest else "")

    def put(self, key: str, local: Path) -> None:
        with _amazon_errors():
            self._files.put_file(str(local), f"{self._bucket}/{self._prefix}{key}", Metadata={"sha256": file_sha256(local)})

    def create(self, key: str, data: bytes) -> bool:
        metadata = {"sha256": hashlib.sha256(data).hexdigest()}
        try:
            self._call("put_object", Key=self._prefix + key, Body=data, Metadata=metadata, IfNoneMatch="*")
        except FileExistsError:
            return False
        return True

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call("delete_object", Key=self._prefix + key)


@contextmanager
def _amazon_errors() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise PermissionError(errno.EACCES, str(error)) from error
    except HTTPClientError as error:
        raise TemporaryError(errno.EIO, str(error)) from error
    except BotoCoreError as error:
        raise OSError(errno.EINVAL, str(error)) from error
    except OSError as error:
        answer = error.__cause__
        if not isinstance(answer, ClientError):
            raise
        raise by_status(int(answer.response["ResponseMetadata"]["HTTPStatusCode"]), str(answer)) from error
