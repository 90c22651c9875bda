"""Columns of the demo's tables: LSST's names, units and meaning, in our own words."""

from __future__ import annotations

from astrolabe.demo.truth import BANDS
from astrolabe.tables.model import Column, Datatype

__all__ = ["FORCED_SOURCE", "OBJECT", "SOURCE", "VISIT"]

_FLUX = "phot.flux.density"
_BAND_UCD = dict(
    zip(
        BANDS,
        ("em.opt.U", "em.opt.B", "em.opt.R", "em.opt.I", "em.opt.I", "em.IR.NIR"),
        strict=True,
    )
)


def _column(
    name: str,
    datatype: Datatype,
    description: str,
    unit: str | None = None,
    ucd: str | None = None,
    *,
    principal: bool = False,
    nullable: bool = False,
    arraysize: str | None = None,
    xtype: str | None = None,
) -> Column:
    return Column(
        name=name,
        datatype=datatype,
        arraysize=arraysize,
        unit=unit,
        ucd=ucd,
        xtype=xtype,
        description=description,
        principal=principal,
        nullable=nullable,
    )


def _position(what: str) -> tuple[Column, Column]:
    return (
        _column(
            "coord_ra",
            Datatype.DOUBLE,
            f"Right ascension of the {what} (ICRS)",
            "deg",
            "pos.eq.ra;meta.main",
            principal=True,
        ),
        _column(
            "coord_dec",
            Datatype.DOUBLE,
            f"Declination of the {what} (ICRS)",
            "deg",
            "pos.eq.dec;meta.main",
            principal=True,
        ),
    )


def _band_columns(band: str) -> tuple[Column, ...]:
    ucd = f"{_FLUX};{_BAND_UCD[band]}"
    return (
        _column(
            f"{band}_psfFlux",
            Datatype.FLOAT,
            f"Flux of a point source fitted in the {band} coadd",
            "nJy",
            ucd,
            principal=band in "gri",
        ),
        _column(
            f"{band}_psfFluxErr",
            Datatype.FLOAT,
            f"Uncertainty of {band}_psfFlux",
            "nJy",
            f"stat.error;{ucd}",
        ),
        _column(
            f"{band}_cModelFlux",
            Datatype.FLOAT,
            f"Total flux from a galaxy model fitted in the {band} coadd",
            "nJy",
            ucd,
            principal=band in "gri",
        ),
        _column(
            f"{band}_cModelFluxErr",
            Datatype.FLOAT,
            f"Uncertainty of {band}_cModelFlux",
            "nJy",
            f"stat.error;{ucd}",
        ),
    )


_OBJECT_ID = _column(
    "objectId", Datatype.LONG, "Unique id of the object", ucd="meta.id;meta.main", principal=True
)
_VISIT_ID = _column(
    "visit",
    Datatype.LONG,
    "Id of the visit of this measurement",
    ucd="meta.id;obs.exposure",
    principal=True,
)
_DETECTOR = _column(
    "detector",
    Datatype.SHORT,
    "Number of the detector in the camera: 10 times its row plus its column",
    ucd="meta.id;instr.det",
)
_BAND = _column(
    "band",
    Datatype.CHAR,
    "Filter band: u, g, r, i, z or y",
    ucd="meta.id;instr.filter",
    arraysize="*",
    principal=True,
)
_MID_TIME = _column(
    "midpointMjdTai",
    Datatype.DOUBLE,
    "Middle of the exposure (MJD, TAI)",
    "d",
    "time.epoch;obs.exposure",
    principal=True,
)

OBJECT: tuple[Column, ...] = (
    _OBJECT_ID,
    *_position("object"),
    _column(
        "coord_raErr",
        Datatype.FLOAT,
        "Uncertainty of coord_ra, times cos(Dec)",
        "deg",
        "stat.error;pos.eq.ra",
    ),
    _column(
        "coord_decErr", Datatype.FLOAT, "Uncertainty of coord_dec", "deg", "stat.error;pos.eq.dec"
    ),
    _column("tract", Datatype.INT, "Tract of the coadds, one square degree", ucd="meta.id"),
    _column(
        "patch", Datatype.SHORT, "Patch of the coadds within the tract, 0 to 15", ucd="meta.id"
    ),
    _column(
        "parentObjectId",
        Datatype.LONG,
        "Id of the blended object that this one was separated from, null if it stands alone",
        ucd="meta.id.parent",
        nullable=True,
    ),
    _column(
        "deblend_nChild",
        Datatype.SHORT,
        "Number of objects separated from this one",
        ucd="meta.number",
    ),
    _column(
        "detect_isPrimary",
        Datatype.BOOLEAN,
        "Whether to use this row in a sample",
        ucd="meta.code.qual",
        principal=True,
    ),
    _column(
        "refBand",
        Datatype.CHAR,
        "Band in which the shape was measured",
        ucd="meta.id;instr.filter",
        arraysize="*",
    ),
    _column(
        "refExtendedness",
        Datatype.FLOAT,
        "0 for a point source, 1 for an extended one, null if too faint to tell",
        ucd="src.morph.param",
        principal=True,
        nullable=True,
    ),
    _column(
        "shape_xx",
        Datatype.FLOAT,
        "Second moment along east, in the reference band",
        "arcsec**2",
        "src.morph.param",
    ),
    _column(
        "shape_yy",
        Datatype.FLOAT,
        "Second moment along north, in the reference band",
        "arcsec**2",
        "src.morph.param",
    ),
    _column(
        "shape_xy",
        Datatype.FLOAT,
        "Mixed second moment, in the reference band",
        "arcsec**2",
        "src.morph.param",
    ),
    _column(
        "i_blendedness",
        Datatype.FLOAT,
        "Share of the i-band flux that belongs to neighbours",
        ucd="stat.value",
    ),
    _column(
        "ebv",
        Datatype.FLOAT,
        "Reddening E(B-V) of the Milky Way at this position",
        "mag",
        "phot.color.excess",
    ),
    *(column for band in BANDS for column in _band_columns(band)),
    _column(
        "nVisits", Datatype.SHORT, "Number of visits that covered the object", ucd="meta.number;obs"
    ),
)

SOURCE: tuple[Column, ...] = (
    _column(
        "sourceId",
        Datatype.LONG,
        "Unique id of the detection",
        ucd="meta.id;meta.main",
        principal=True,
    ),
    _column(
        "objectId",
        Datatype.LONG,
        "Id of the object at this position, null for what moves",
        ucd="meta.id.assoc",
        principal=True,
        nullable=True,
    ),
    _VISIT_ID,
    _DETECTOR,
    _BAND,
    _MID_TIME,
    *_position("detection"),
    _column(
        "raErr",
        Datatype.FLOAT,
        "Uncertainty of coord_ra, times cos(Dec)",
        "deg",
        "stat.error;pos.eq.ra",
    ),
    _column("decErr", Datatype.FLOAT, "Uncertainty of coord_dec", "deg", "stat.error;pos.eq.dec"),
    _column(
        "x",
        Datatype.DOUBLE,
        "Column in the detector's image, 0 at the centre of the first pixel",
        "pixel",
        "pos.cartesian.x;instr.det",
    ),
    _column(
        "y",
        Datatype.DOUBLE,
        "Row in the detector's image, 0 at the centre of the first pixel",
        "pixel",
        "pos.cartesian.y;instr.det",
    ),
    _column(
        "psfFlux",
        Datatype.FLOAT,
        "Flux of a point source fitted in the visit image",
        "nJy",
        _FLUX,
        principal=True,
    ),
    _column("psfFluxErr", Datatype.FLOAT, "Uncertainty of psfFlux", "nJy", f"stat.error;{_FLUX}"),
    _column("ap12Flux", Datatype.FLOAT, "Flux within 12 pixels", "nJy", _FLUX),
    _column("ap12FluxErr", Datatype.FLOAT, "Uncertainty of ap12Flux", "nJy", f"stat.error;{_FLUX}"),
    _column(
        "sky", Datatype.FLOAT, "Background around the detection", "nJy/arcsec**2", "instr.skyLevel"
    ),
    _column(
        "extendedness",
        Datatype.FLOAT,
        "0 for a point source, 1 for an extended one",
        ucd="src.morph.param",
    ),
    _column(
        "psfFlux_flag", Datatype.BOOLEAN, "Whether the fit of psfFlux failed", ucd="meta.code.error"
    ),
)

FORCED_SOURCE: tuple[Column, ...] = (
    _column(
        "forcedSourceId", Datatype.LONG, "Unique id of the measurement", ucd="meta.id;meta.main"
    ),
    _column(
        "objectId",
        Datatype.LONG,
        "Id of the object that was measured",
        ucd="meta.id.parent",
        principal=True,
    ),
    _VISIT_ID,
    _DETECTOR,
    _BAND,
    _MID_TIME,
    *_position("object"),
    _column(
        "psfFlux",
        Datatype.FLOAT,
        "Flux at the object's position in the visit image",
        "nJy",
        _FLUX,
        principal=True,
    ),
    _column(
        "psfFluxErr",
        Datatype.FLOAT,
        "Uncertainty of psfFlux",
        "nJy",
        f"stat.error;{_FLUX}",
        principal=True,
    ),
    _column(
        "psfDiffFlux",
        Datatype.FLOAT,
        "Flux at the object's position in the difference image",
        "nJy",
        _FLUX,
        principal=True,
    ),
    _column(
        "psfDiffFluxErr", Datatype.FLOAT, "Uncertainty of psfDiffFlux", "nJy", f"stat.error;{_FLUX}"
    ),
    _column(
        "psfFlux_flag", Datatype.BOOLEAN, "Whether the measurement failed", ucd="meta.code.error"
    ),
)

VISIT: tuple[Column, ...] = (
    _column(
        "visit", Datatype.LONG, "Unique id of the visit", ucd="meta.id;meta.main", principal=True
    ),
    _column(
        "band",
        Datatype.CHAR,
        "Filter band: u, g, r, i, z or y",
        ucd="meta.id;instr.filter",
        arraysize="*",
        principal=True,
    ),
    _column(
        "ra",
        Datatype.DOUBLE,
        "Right ascension of the centre of the field (ICRS)",
        "deg",
        "pos.eq.ra;meta.main",
        principal=True,
    ),
    _column(
        "dec",
        Datatype.DOUBLE,
        "Declination of the centre of the field (ICRS)",
        "deg",
        "pos.eq.dec;meta.main",
        principal=True,
    ),
    _column(
        "skyRotation", Datatype.DOUBLE, "Rotation of the camera, east of north", "deg", "pos.posAng"
    ),
    _column("altitude", Datatype.DOUBLE, "Altitude of the pointing", "deg", "pos.az.alt"),
    _column("azimuth", Datatype.DOUBLE, "Azimuth of the pointing", "deg", "pos.az.azi"),
    _column("airmass", Datatype.DOUBLE, "Airmass of the pointing", None, "obs.airMass"),
    _column("expTime", Datatype.DOUBLE, "Exposure time", "s", "time.duration;obs.exposure"),
    _column(
        "expMidpt",
        Datatype.CHAR,
        "Middle of the exposure (TAI)",
        None,
        "time.epoch;obs.exposure",
        arraysize="*",
        xtype="timestamp",
    ),
    _column(
        "expMidptMJD",
        Datatype.DOUBLE,
        "Middle of the exposure (MJD, TAI)",
        "d",
        "time.epoch;obs.exposure",
        principal=True,
    ),
    _column(
        "obsStartMJD",
        Datatype.DOUBLE,
        "Start of the exposure (MJD, TAI)",
        "d",
        "time.start;obs.exposure",
    ),
    _column(
        "seeing",
        Datatype.FLOAT,
        "Full width at half maximum of a point source",
        "arcsec",
        "instr.obsty.seeing",
    ),
    _column(
        "magLim",
        Datatype.FLOAT,
        "AB magnitude of a point source at 5 sigma",
        "mag",
        "phot.mag;stat.min",
    ),
    _column("skyBackground", Datatype.FLOAT, "Background", "nJy/arcsec**2", "instr.skyLevel"),
)
