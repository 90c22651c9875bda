"""Files of an object store, read by range requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from astrolabe.core.errors import BadParameterError, ImageInvalidError, NotFoundError, OverloadError
from astrolabe.images.byte_source import ByteSource, FileStat, Range, file_name, merge_ranges

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["S3Options", "S3Source", "list_files", "open_store", "split_uri", "stat_file"]

_GAP: Final = 32_768
_TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """How to reach the object store of ``s3://`` files.

    Parameters
    ----------
    endpoint
        Its address; by default that of AWS.
    region
        By default ``us-east-1``.
    access_key, secret_key
        Without them requests are not signed.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = None


class S3Source(ByteSource):
    """A file of the object store: one request for ranges that lie close together."""

    def __init__(self, uri: str, stat_: FileStat, store: S3Store, key: str) -> None:
        super().__init__(uri, stat_)
        self._store, self._key = store, key

    @override
    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self.check(ranges)
        return merge_ranges(ranges, _GAP, self._fetch)

    def _fetch(self, spans: Sequence[Range]) -> list[bytes]:
        import obstore  # noqa: PLC0415 - 40 ms that only object stores need

        try:
            found = obstore.get_ranges(
                self._store,
                self._key,
                starts=[offset for offset, _ in spans],
                lengths=[length for _, length in spans],
                coalesce=0,  # they are merged already
            )
        except Exception as exc:
            error = _error(file_name(self.uri), exc)
            if isinstance(error, NotFoundError):
                # The caller named an image, and that there is.
                error = ImageInvalidError(error.message)
            raise error from exc
        data = [bytes(part) for part in found]
        if any(len(part) != length for part, (_, length) in zip(data, spans, strict=True)):
            raise ImageInvalidError(f"{file_name(self.uri)} is shorter than when it was imported.")
        return data


def split_uri(uri: str, *, key_needed: bool = True) -> tuple[str, str]:
    """Return bucket and key of ``s3://bucket/key``.

    Raises
    ------
    BadParameterError
        Raised if `uri` is no such address.
    """
    # Not by urlsplit: '?' and '#' are letters of a key like any other.
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    parts = PurePosixPath(key).parts
    if not uri.startswith("s3://") or not bucket or (key_needed and not key) or ".." in parts:
        raise BadParameterError(f"{uri[:200]!r} is no address like s3://bucket/key.")
    return bucket, key


def open_store(bucket: str, options: S3Options) -> S3Store:
    """Return a bucket; nothing is asked of it yet."""
    from obstore.store import S3Store  # noqa: PLC0415 - 40 ms that only object stores need

    config: dict[str, object] = {"region": options.region or "us-east-1"}
    if options.endpoint:
        config["endpoint"] = options.endpoint
        config["virtual_hosted_style_request"] = False
    if options.access_key and options.secret_key:
        config["access_key_id"] = options.access_key
        config["secret_access_key"] = options.secret_key
    else:
        config["skip_signature"] = True
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]  # a typed dict whose keys depend on the settings
        client_options={
            "allow_http": (options.endpoint or "").startswith("http://"),
            "timeout": timedelta(seconds=_TIMEOUT_SECONDS),
        },
        retry_config={
            "max_retries": 3,
            "retry_timeout": timedelta(seconds=_TIMEOUT_SECONDS),
        },
    )


def stat_file(store: S3Store, key: str, uri: str) -> FileStat:
    """Return size and ETag of a file.

    Raises
    ------
    NotFoundError
        Raised if there is no such file.
    """
    import obstore  # noqa: PLC0415 - 40 ms that only object stores need

    try:
        found = obstore.head(store, key)
    except Exception as exc:
        raise _error(uri, exc) from exc
    return FileStat(found["size"], _signature(found["size"], found["e_tag"]))


def list_files(store: S3Store, bucket: str, prefix: str) -> Iterator[tuple[str, FileStat]]:
    """Yield the files below a prefix with what is known of them.

    Raises
    ------
    NotFoundError
        Raised if there is no such bucket.
    """
    import obstore  # noqa: PLC0415 - 40 ms that only object stores need

    try:
        for batch in obstore.list(store, prefix or None):
            for entry in batch:
                found = FileStat(entry["size"], _signature(entry["size"], entry["e_tag"]))
                yield f"s3://{bucket}/{entry['path']}", found
    except Exception as exc:
        raise _error(f"s3://{bucket}/{prefix}", exc) from exc


def _signature(size: int, tag: str | None) -> str:
    tag = (tag or "").strip('"')
    return f"{size}-{tag}"[:200]


def _error(uri: str, error: Exception) -> Exception:
    from obstore import exceptions  # noqa: PLC0415 - 40 ms that only object stores need

    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"The object store has no {uri}.")
    if isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
        return ImageInvalidError(
            f"The object store refuses to give {uri}: the settings images.s3_access_key and "
            "images.s3_secret_key must be those of somebody who may read it."
        )
    if isinstance(error, exceptions.BaseError):
        return OverloadError(f"The object store did not answer with {uri}; try again later.")
    return error
