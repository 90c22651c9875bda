"""Multipart bodies (RFC 7578), read as a stream: fields in memory, files to disk, both bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from astrolabe.core.errors import BadParameterError, TooLargeError
from astrolabe.core.storage import full_disk_is_storage_full

__all__ = ["MultipartForm", "MultipartLimits", "read_multipart"]

_WRITE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartLimits:
    """How much one form may hold.

    Parameters
    ----------
    field_bytes
        All fields that are not files, together.
    file_bytes
        All files, together.
    parts
        Number of parts, or of parameters where the form has none.
    """

    field_bytes: int
    file_bytes: int
    parts: int = 1000


@dataclass(slots=True)
class MultipartForm:
    """What a multipart body held: fields in order, and files by the name of their part."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)


async def read_multipart(
    stream: AsyncIterator[bytes],
    content_type: str,
    *,
    limits: MultipartLimits,
    new_file: Callable[[str], Path],
) -> MultipartForm:
    """Read a multipart body; one without a single byte has no fields.

    Clients that follow a redirection keep the header of the form that they sent before.

    Parameters
    ----------
    stream
        The body.
    content_type
        The request's Content-Type header, with the boundary.
    new_file
        Gives the path to write a file to, by the name of its part.

    Raises
    ------
    BadParameterError
        Raised if the body is no multipart form.
    TooLargeError
        Raised if it is over a limit.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadParameterError("The multipart body has no boundary in its Content-Type header.")
    collector = _Collector(limits=limits, new_file=new_file)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.on_part_begin,
                "on_part_data": collector.on_part_data,
                "on_part_end": collector.on_part_end,
                "on_header_field": collector.on_header_field,
                "on_header_value": collector.on_header_value,
                "on_header_end": collector.on_header_end,
                "on_headers_finished": collector.on_headers_finished,
                "on_end": collector.on_end,
            },
        )
        empty = True
        async for chunk in stream:
            empty = empty and not chunk
            parser.write(chunk)
            if len(collector.pending) >= _WRITE_BYTES:
                await asyncio.to_thread(collector.flush)
        await asyncio.to_thread(collector.flush)
        parser.finalize()
    except FormParserError as exc:
        raise BadParameterError(f"The multipart body cannot be read: {exc}.") from exc
    finally:
        collector.close()
    if not collector.ended and not empty:
        raise BadParameterError("The multipart body ends before its last boundary.")
    return collector.form


class _Collector:
    """Receives the parser's events."""

    def __init__(self, *, limits: MultipartLimits, new_file: Callable[[str], Path]) -> None:
        self.form = MultipartForm()
        self.pending = bytearray()
        self.ended = False
        self._limits = limits
        self._new_file = new_file
        self._parts = 0
        self._field_bytes = 0
        self._file_bytes = 0
        self._header_name = b""
        self._header_value = b""
        self._name: str | None = None
        self._value = bytearray()
        self._file: BinaryIO | None = None

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise TooLargeError(f"The form has more than {self._limits.parts} parts.")
        self._name = None
        self._value = bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value.decode("latin-1"))
            name = options.get(b"name")
            self._name = None if name is None else name.decode("utf-8", "replace")
            if self._name is not None and b"filename" in options:
                path = self._new_file(self._name)
                self._file = path.open("wb")
                self.form.files[self._name] = path
        self._header_name = self._header_value = b""

    def on_headers_finished(self) -> None:
        if self._name is None:
            raise BadParameterError("A part of the multipart body has no name.")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._field_bytes += end - start
            if self._field_bytes > self._limits.field_bytes:
                raise TooLargeError(
                    f"The form's fields are over the limit of {self._limits.field_bytes} bytes; "
                    "send long lists as an uploaded table."
                )
            self._value += data[start:end]
            return
        self._file_bytes += end - start
        if self._file_bytes > self._limits.file_bytes:
            raise TooLargeError(
                f"The uploaded files are over the limit of {self._limits.file_bytes / 1e6:g} MB "
                "(setting tap.upload_mb)."
            )
        self.pending += data[start:end]

    def on_part_end(self) -> None:
        if self._file is not None:
            self.flush()
            self._file.close()
            self._file = None
        elif self._name is not None:
            self.form.fields.append((self._name, self._text()))

    def on_end(self) -> None:
        self.ended = True

    def flush(self) -> None:
        """Write what has come of the present file."""
        if self._file is not None and self.pending:
            with full_disk_is_storage_full("the upload"):
                self._file.write(self.pending)
                self._file.flush()
        self.pending.clear()

    def close(self) -> None:
        """Close a file that an error left open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _text(self) -> str:
        try:
            return self._value.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise BadParameterError(f"The parameter {self._name!r} is not UTF-8 text.") from exc
