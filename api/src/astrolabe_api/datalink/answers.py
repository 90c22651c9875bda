"""Answers to requests for links: looked up in bounded pools, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Final

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.core.errors import AstrolabeError, CancelledError, ForbiddenError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.images.links.of_rows import RowAsker
from astrolabe.tables.model import ServiceDescriptor, TableMeta
from astrolabe_api.common.descriptors import (
    DATALINK_MIME,
    links_descriptor,
    row_links_descriptor,
)
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.state import ApiState
from astrolabe_api.common.streaming import ByteStream, StreamedResponse, coalesce, gzip_chunks
from astrolabe_api.datalink.gate import LinkGate
from astrolabe_api.datalink.links import Link, LinkGroup, links_document
from astrolabe_api.datalink.of_images import ImageLinkMaker
from astrolabe_api.datalink.of_rows import RowLinkMaker
from astrolabe_api.datalink.queries import split_row_did
from astrolabe_api.datalink.requests import LinksRequest

__all__ = ["ROW_SCOPE", "links_response", "row_links_response"]

ROW_SCOPE: Final = "read:tap"
"""What a token must hold for whoever asks for the links of rows."""

_SLOW_CLIENT_SECONDS: Final = 60


def links_response(
    state: ApiState,
    caller: Principal,
    asked: LinksRequest,
    *,
    address: str | None,
    compress: bool,
    headers_only: bool,
) -> StreamedResponse:
    """Return the links of images and of rows by their ``ivo://`` identifiers.

    Parameters
    ----------
    address
        The client's.
    compress
        Whether the client accepts gzip.
    headers_only
        Whether to send nothing but headers (HEAD).
    """
    answer = _Answer(state, caller, address)
    reads_tables = any(_is_row(state, text) for text in asked.ids)
    return answer.response(
        lambda: answer.groups(asked.ids),
        itself=links_descriptor(state.url(""), is_self=True),
        overflow=asked.overflow,
        compress=compress,
        headers_only=headers_only,
        reads_tables=reads_tables,
    )


def row_links_response(
    state: ApiState,
    caller: Principal,
    table: TableMeta,
    asked: LinksRequest,
    *,
    address: str | None,
    compress: bool,
    headers_only: bool,
) -> StreamedResponse:
    """Return the links of a table's rows by their bare ids; see `links_response`."""
    answer = _Answer(state, caller, address)
    return answer.response(
        lambda: answer.row_groups(table, [(text, _bare(state, table, text)) for text in asked.ids]),
        itself=row_links_descriptor(state.url(""), table.qualified_name, is_self=True),
        overflow=asked.overflow,
        compress=compress,
        headers_only=headers_only,
        reads_tables=bool(asked.ids),
    )


class _Answer:
    """One answer on its way through the pools."""

    def __init__(self, state: ApiState, caller: Principal, address: str | None) -> None:
        self._state = state
        self._caller = caller
        self._address = address
        self._cancel = QueryCancel(
            seconds=state.settings.tap.sync_seconds, advice="Ask for fewer identifiers."
        )
        self._gate = LinkGate(state, caller)
        self._tables = 0

    @cached_property
    def _images(self) -> ImageLinkMaker:
        """Made in a thread: the trees of HiPS are on the disk."""
        hips = self._state.context.images.hips.access
        readable = [(tree.info, hips.is_public(tree)) for tree in hips.readable(self._caller)]
        return ImageLinkMaker(self._state.url(""), self._gate, hips=readable)

    def response(
        self,
        groups: Callable[[], Iterator[LinkGroup]],
        *,
        itself: ServiceDescriptor,
        overflow: bool,
        compress: bool,
        headers_only: bool,
        reads_tables: bool,
    ) -> StreamedResponse:
        """Return the answer; nothing is looked up before it is sent."""
        state = self._state
        gate = state.gate(self._caller, self._address)

        def make() -> tuple[WorkPool, Iterator[bytes]]:
            if headers_only:
                return state.metadata_pool, iter(())
            chunks = coalesce(links_document(groups(), itself=itself, overflow=overflow))
            body = gzip_chunks(chunks) if compress else chunks
            # What asks the control database alone never waits behind queries.
            if not reads_tables:
                return state.metadata_pool, body
            return gate.enter(), gate.passing(body)

        headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding, Authorization, Cookie"}
        if compress:
            headers["Content-Encoding"] = "gzip"
        return StreamedResponse(
            ByteStream(state.metadata_pool, make, on_abort=self._cancel.cancel),
            media_type=DATALINK_MIME,
            headers=headers,
            patience_seconds=state.settings.tap.sync_seconds + _SLOW_CLIENT_SECONDS,
            on_end=gate.closing(lambda: None),
        )

    def groups(self, ids: Sequence[str]) -> Iterator[LinkGroup]:
        """Yield the links of each identifier; neighbours of one kind are looked up together."""
        authority = self._state.context.images.authority
        split = [(text, split_row_did(text, authority=authority)) for text in ids]
        for name, run in groupby(split, key=lambda pair: pair[1] and pair[1][0].lower()):
            some = list(run)
            if name is None:
                yield from self._image_groups([text for text, _ in some])
                continue
            try:
                self._require_rows()
                table = self._state.context.linked_rows.table(self._caller, name)
            except AstrolabeError as exc:
                yield from (_fault(text, exc) for text, _ in some)
                continue
            yield from self.row_groups(table, [(text, found[1]) for text, found in some if found])

    def row_groups(self, table: TableMeta, given: Sequence[tuple[str, str]]) -> Iterator[LinkGroup]:
        """Yield the links of rows of one table.

        Parameters
        ----------
        given
            Each identifier as it was sent, and the id of the row.
        """
        state = self._state
        self._tables += 1
        maker = RowLinkMaker(
            state.url(""),
            table,
            self._gate,
            anyone_may_read=(table.schema, table.name)
            in state.context.readable.view(ANONYMOUS).entries,
            images=self._images,
            number=self._tables,
        )
        asker = RowAsker(principal=self._caller, address=self._address, cancel=self._cancel)
        found = state.context.linked_rows.links(asker, table, [row_id for _, row_id in given])
        done = 0
        try:
            for (text, _), (_, row) in zip(given, found, strict=True):
                yield maker.group(text, row)
                done += 1
        except CancelledError:
            raise
        except AstrolabeError as exc:
            # Other identifiers may have been answered already: each of these gets its fault.
            yield from (_fault(text, exc) for text, _ in given[done:])

    def _require_rows(self) -> None:
        """Make sure that the caller's token is good for rows, too: the address asks for images."""
        if not self._caller.is_anonymous and ROW_SCOPE not in self._caller.scopes:
            raise ForbiddenError(
                f"Links of rows need the scope {ROW_SCOPE}, which your token does not have."
            )

    def _image_groups(self, dids: Sequence[str]) -> Iterator[LinkGroup]:
        for did, found in self._state.context.images.linked.links(self._caller, dids):
            self._cancel.raise_if_set()
            yield self._images.group(did, found)


def _fault(text: str, error: AstrolabeError) -> LinkGroup:
    return LinkGroup(given=text, links=(Link.of_error(error),))


def _is_row(state: ApiState, text: str) -> bool:
    return split_row_did(text, authority=state.context.images.authority) is not None


def _bare(state: ApiState, table: TableMeta, text: str) -> str:
    """Return the id that is meant: that of an identifier of the same table, else the text."""
    found = split_row_did(text, authority=state.context.images.authority)
    if found is not None and found[0].lower() == table.qualified_name.lower():
        return found[1]
    return text
