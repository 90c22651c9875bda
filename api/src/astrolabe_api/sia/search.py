"""Image searches: the streamed answer, and the service's description of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from astrolabe.catalogs.query import PreparedQuery, QueryRequest
from astrolabe.catalogs.uploads import UploadedTable
from astrolabe.identity import Principal
from astrolabe.images.soda.positions import read_positions
from astrolabe.tables.formats import resolve_format
from astrolabe.tables.model import Datatype, Info, ResultHeader, ServiceDescriptor, ServiceParam
from astrolabe_api.common.query_stream import Presentation, query_response
from astrolabe_api.common.state import ApiState
from astrolabe_api.common.streaming import StreamedResponse
from astrolabe_api.sia.query import searched_positions, sia_query
from astrolabe_api.sia.requests import SiaRequest

__all__ = ["SIA_STANDARD_ID", "sia_response"]

SIA_STANDARD_ID: Final = "ivo://ivoa.net/std/SIA#query-2.0"

_TEXT: Final = (Datatype.CHAR, "*")
_INTERVAL: Final = (Datatype.DOUBLE, "2")
_PARAMETERS: Final = (
    (
        "POS",
        _TEXT,
        None,
        "pos.outline;obs.field",
        None,
        "Region, ICRS degrees: CIRCLE, RANGE or POLYGON",
    ),
    ("BAND", _INTERVAL, "m", "em.wl", "interval", "Wavelengths in vacuum"),
    ("TIME", _INTERVAL, "d", "time.interval;obs.exposure", "interval", "Times (MJD)"),
    ("POL", _TEXT, None, "meta.code;phys.polarization", None, "Polarization state"),
    ("FOV", _INTERVAL, "deg", "phys.angSize;instr.fov", "interval", "Size of the field"),
    ("SPATRES", _INTERVAL, "arcsec", "pos.angResolution", "interval", "Angular resolution"),
    ("SPECRP", _INTERVAL, None, "spect.resolution", "interval", "Spectral resolving power"),
    ("EXPTIME", _INTERVAL, "s", "time.duration;obs.exposure", "interval", "Exposure time"),
    ("TIMERES", _INTERVAL, "s", "time.resolution", "interval", "Resolution in time"),
    ("ID", _TEXT, None, "meta.ref.ivoid", None, "Identifier of an image"),
    ("COLLECTION", _TEXT, None, "meta.id", None, "Name of the collection"),
    ("FACILITY", _TEXT, None, "meta.id;instr.tel", None, "Name of the telescope"),
    ("INSTRUMENT", _TEXT, None, "meta.id;instr", None, "Name of the instrument"),
    ("DPTYPE", _TEXT, None, "meta.code.class", None, "Type of the data product: image or cube"),
    ("CALIB", (Datatype.INT, None), None, "meta.code;obs.calib", None, "Calibration level, 0 to 4"),
    ("TARGET", _TEXT, None, "meta.id;src", None, "Name of the target"),
    ("FORMAT", _TEXT, None, "meta.code.mime", None, "Media type of what access_url leads to"),
    ("RELEASEDATE", _TEXT, None, "time.release", None, "Interval of timestamps (UTC)"),
    (
        "UPLOAD",
        _TEXT,
        None,
        None,
        None,
        (
            "A table of positions: 'positions,param:part', or 'positions,ADDRESS' of the result of "
            "a job; its columns ra and dec, and as one likes radius or size (deg)"
        ),
    ),
    ("MAXREC", (Datatype.INT, None), None, None, None, "Rows to give at most"),
    ("RESPONSEFORMAT", _TEXT, None, None, None, "Media type or short name of the answer's form"),
)


def sia_response(
    state: ApiState,
    caller: Principal,
    asked: SiaRequest,
    *,
    address: str | None,
    compress: bool,
    headers_only: bool,
    on_end: Callable[[], None],
) -> StreamedResponse:
    """Return the answer to an image search; it runs when the response is sent.

    Parameters
    ----------
    address
        The client's.
    compress
        Whether the client accepts gzip.
    headers_only
        Whether to check the search without running it (HEAD).
    on_end
        Called when all is over.
    """
    context = state.context

    def prepare() -> PreparedQuery:
        query = sia_query(
            asked,
            authority=context.images.authority,
            find=partial(context.images.access.find, caller),
        )
        request = QueryRequest(
            query=query,
            maxrec=asked.maxrec,
            uploads=_positions(state, caller, asked),
            address=address,
        )
        return context.queries.prepare(request, principal=caller)

    return query_response(
        state,
        prepare,
        Presentation(
            output=asked.output,
            name="images",
            compress=compress,
            reshape_header=partial(_header, state, is_description=asked.maxrec == 0),
        ),
        gate=state.gate(caller, address),
        advice="Search a smaller region, or query ivoa.ObsCore as an async job at "
        f"{state.url('/api/tap/async')}.",
        headers_only=headers_only,
        is_heavy=bool(asked.uploads),
        on_end=on_end,
    )


def _positions(state: ApiState, caller: Principal, asked: SiaRequest) -> tuple[UploadedTable, ...]:
    """Return the table of positions of a search as its query reads it, if it has one."""
    if not asked.uploads:
        return ()
    tables = state.context.upload_resolver.resolve(
        asked.uploads, files=asked.files, principal=caller
    )
    return (searched_positions(read_positions(tables)),)


def _header(state: ApiState, header: ResultHeader, *, is_description: bool) -> ResultHeader:
    infos = [info for info in header.infos if info.name != "standardID"]
    infos.insert(0, Info("standardID", SIA_STANDARD_ID))
    made = replace(header, infos=tuple(infos), table_name="images")
    if not is_description:
        return made
    itself = ServiceDescriptor(
        name="this",
        access_url=state.url("/api/sia/query"),
        standard_id=SIA_STANDARD_ID,
        content_type=resolve_format(None).mime,
        params=tuple(_param(*parameter) for parameter in _PARAMETERS),
        description="Images by position, band, time and more; values of one parameter are "
        "alternatives, all parameters must hold.",
        is_self=True,
    )
    return replace(made, services=(itself,))


def _param(
    name: str,
    kind: tuple[Datatype, str | None],
    unit: str | None,
    ucd: str | None,
    xtype: str | None,
    about: str,
) -> ServiceParam:
    datatype, arraysize = kind
    return ServiceParam(
        name=name,
        datatype=datatype,
        arraysize=arraysize,
        unit=unit,
        ucd=ucd,
        xtype=xtype,
        description=about,
    )
