"""The columns of ``ivoa.ObsCore`` (ObsCore 1.1, tables 5 to 7, with errata 1 and 2).

All mandatory columns and all optional ones that the standard describes, with its types, units, UCDs
and utypes; then our own, which are not marked ``std``.
"""

from __future__ import annotations

from typing import Final

from astrolabe.tables.model import Column, CoordinateSystem, Datatype, TableMeta

__all__ = [
    "DERIVED_COLUMNS",
    "FILLED_COLUMNS",
    "OBSCORE",
    "OBSCORE_DATA_MODEL",
    "OBSCORE_GROUP_ROWS",
    "OBSCORE_NAME",
    "OBSCORE_SCHEMA",
]

OBSCORE_SCHEMA: Final = "ivoa"
OBSCORE_NAME: Final = "ObsCore"
OBSCORE_DATA_MODEL: Final = "ivo://ivoa.net/std/ObsCore#core-1.1"
"""What TAP's capabilities say of a service that has the table (ObsCore 1.1, section 5)."""

OBSCORE_GROUP_ROWS: Final = 4_096
"""Rows of a row group: few, since searches want all of the many columns of a handful of rows."""


def _made(
    name: str,
    datatype: Datatype,
    utype: str | None,
    ucd: str,
    description: str,
    unit: str | None,
    *,
    arraysize: str | None = None,
    xtype: str | None = None,
) -> Column:
    return Column(
        name=name,
        datatype=datatype,
        arraysize=arraysize,
        unit=unit,
        ucd=ucd,
        utype=None if utype is None else f"obscore:{utype}",
        xtype=xtype,
        description=description,
        principal=name in _PRINCIPAL,
        indexed=name in _INDEXED,
        std=utype is not None,
        nullable=name not in FILLED_COLUMNS,
    )


def _text(name: str, utype: str | None, ucd: str, description: str) -> Column:
    return _made(name, Datatype.CHAR, utype, ucd, description, None, arraysize="*")


def _date(name: str, utype: str, ucd: str, description: str) -> Column:
    return _made(
        name, Datatype.CHAR, utype, ucd, description, None, arraysize="*", xtype="timestamp"
    )


def _real(name: str, utype: str, ucd: str, description: str, unit: str | None = None) -> Column:
    return _made(name, Datatype.DOUBLE, utype, ucd, description, unit)


def _count(name: str, utype: str, ucd: str, description: str, unit: str | None = None) -> Column:
    return _made(name, Datatype.LONG, utype, ucd, description, unit)


FILLED_COLUMNS: Final = frozenset(
    {"calib_level", "obs_collection", "obs_id", "obs_publisher_did", "access_url", "access_format"}
)
"""Columns that are never null (ObsCore 1.1, table 5, and because every image here has links)."""

_PRINCIPAL = FILLED_COLUMNS | {
    *("dataproduct_type", "access_estsize", "target_name"),
    *("s_ra", "s_dec", "s_fov", "s_region", "s_resolution"),
    *("t_min", "t_max", "t_exptime", "em_min", "em_max"),
    *("facility_name", "instrument_name", "band"),
}
_INDEXED = frozenset({"s_ra", "s_dec", "s_region"})

_OBSERVATION = (
    _text("dataproduct_type", "ObsDataset.dataProductType", "meta.code.class",
          "Type of the data product: image or cube"),
    _text("dataproduct_subtype", "ObsDataset.dataProductSubtype", "meta.code.class",
          "The collection's own word for the type of the data product"),
    _made("calib_level", Datatype.INT, "ObsDataset.calibLevel", "meta.code;obs.calib",
          "Level of calibration: 0 raw, 1 instrumental, 2 calibrated, 3 combined, 4 analysed",
          None),
    _text("target_name", "Target.Name", "meta.id;src", "Object or field that was observed"),
    _text("target_class", "Target.Class", "src.class", "Class of the object that was observed"),
    _text("obs_id", "DataID.observationID", "meta.id",
          "Identifier of the observation that the data product belongs to"),
    _text("obs_title", "DataID.Title", "meta.title;obs", "Title of the data product"),
    _text("obs_collection", "DataID.Collection", "meta.id",
          "Collection that the data product belongs to"),
    _date("obs_creation_date", "DataID.Date", "time;meta.dataset",
          "When the data product was made (UTC)"),
    _text("obs_creator_name", "DataID.Creator", "meta.id", "Who made the data product"),
    _text("obs_creator_did", "DataID.CreatorDID", "meta.id",
          "Identifier that its maker gave to the data product"),
    _date("obs_release_date", "Curation.releaseDate", "time.release",
          "When the pixels become public (UTC)"),
    _text("obs_publisher_did", "Curation.PublisherDID", "meta.ref.ivoid",
          "Identifier of the data product here: the ID of links and cutouts"),
    _text("publisher_id", "Curation.PublisherID", "meta.ref.ivoid",
          "Identifier of the publisher"),
    _text("bib_reference", "Curation.Reference", "meta.bib.bibcode",
          "Publication that describes the data product"),
    _text("data_rights", "Curation.Rights", "meta.code",
          "Who may have the pixels: public, secure or proprietary"),
)  # fmt: skip

_ACCESS = (
    _text("access_url", "Access.Reference", "meta.ref.url",
          "Address of the data product's links (DataLink)"),
    _text("access_format", "Access.Format", "meta.code.mime",
          "Media type of what is at access_url"),
    _count("access_estsize", "Access.Size", "phys.size;meta.file",
           "Size of the file of the data product", "kbyte"),
)  # fmt: skip

_SPACE = (
    _real("s_ra", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1", "pos.eq.ra",
          "Right ascension of the centre (ICRS)", "deg"),
    _real("s_dec", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2", "pos.eq.dec",
          "Declination of the centre (ICRS)", "deg"),
    _real("s_fov", "Char.SpatialAxis.Coverage.Bounds.Extent.diameter", "phys.angSize;instr.fov",
          "Diameter of a circle around all of the data product", "deg"),
    _made("s_region", Datatype.DOUBLE, "Char.SpatialAxis.Coverage.Support.Area",
          "pos.outline;obs.field", "Footprint: the corners of a polygon (ICRS, degrees)", None,
          arraysize="*", xtype="polygon"),
    _text("s_ucd", "Char.SpatialAxis.ucd", "meta.ucd", "UCD of the spatial axis"),
    _text("s_unit", "Char.SpatialAxis.unit", "meta.unit", "Unit of the spatial axis"),
    _real("s_resolution", "Char.SpatialAxis.Resolution.Refval.value", "pos.angResolution",
          "Width of the point spread function (FWHM)", "arcsec"),
    _real("s_resolution_min", "Char.SpatialAxis.Resolution.Bounds.Limits.LoLimit",
          "pos.angResolution;stat.min", "Smallest width of the point spread function", "arcsec"),
    _real("s_resolution_max", "Char.SpatialAxis.Resolution.Bounds.Limits.HiLimit",
          "pos.angResolution;stat.max", "Largest width of the point spread function", "arcsec"),
    _real("s_pixel_scale", "Char.SpatialAxis.Sampling.RefVal.SamplingPeriod",
          "phys.angSize;instr.pixel", "Size of a pixel on the sky", "arcsec"),
    _count("s_xel1", "Char.SpatialAxis.numBins1", "meta.number", "Pixels along the first axis"),
    _count("s_xel2", "Char.SpatialAxis.numBins2", "meta.number", "Pixels along the second axis"),
    _text("s_calib_status", "Char.SpatialAxis.calibrationStatus", "meta.code.qual",
          "Calibration of positions: uncalibrated, raw or calibrated"),
    _real("s_stat_error", "Char.SpatialAxis.Accuracy.statError.refval.value", "stat.error;pos.eq",
          "Statistical error of positions", "arcsec"),
)  # fmt: skip

_TIME = (
    _real("t_min", "Char.TimeAxis.Coverage.Bounds.Limits.StartTime", "time.start;obs.exposure",
          "Start of the (first) exposure (MJD, UTC)", "d"),
    _real("t_max", "Char.TimeAxis.Coverage.Bounds.Limits.StopTime", "time.end;obs.exposure",
          "End of the (last) exposure (MJD, UTC)", "d"),
    _real("t_exptime", "Char.TimeAxis.Coverage.Support.Extent", "time.duration;obs.exposure",
          "Time of exposure, all exposures together", "s"),
    _real("t_resolution", "Char.TimeAxis.Resolution.Refval.value", "time.resolution",
          "Resolution in time", "s"),
    _count("t_xel", "Char.TimeAxis.numBins", "meta.number", "Elements along the time axis"),
    _text("t_calib_status", "Char.TimeAxis.calibrationStatus", "meta.code.qual",
          "Calibration of times: calibrated, uncalibrated, relative or raw"),
    _real("t_stat_error", "Char.TimeAxis.Accuracy.StatError.refval.value", "stat.error;time",
          "Statistical error of times", "s"),
)  # fmt: skip

_SPECTRUM = (
    _real("em_min", "Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit", "em.wl;stat.min",
          "Shortest wavelength in vacuum", "m"),
    _real("em_max", "Char.SpectralAxis.Coverage.Bounds.Limits.HiLimit", "em.wl;stat.max",
          "Longest wavelength in vacuum", "m"),
    _text("em_ucd", "Char.SpectralAxis.ucd", "meta.ucd", "UCD of the spectral axis"),
    _text("em_unit", "Char.SpectralAxis.unit", "meta.unit", "Unit of the spectral axis"),
    _text("em_calib_status", "Char.SpectralAxis.calibrationStatus", "meta.code.qual",
          "Calibration of wavelengths: calibrated, uncalibrated, relative or absolute"),
    _real("em_res_power", "Char.SpectralAxis.Resolution.ResolPower.refVal", "spect.resolution",
          "Resolving power"),
    _real("em_res_power_min", "Char.SpectralAxis.Resolution.ResolPower.LoLimit",
          "spect.resolution;stat.min", "Smallest resolving power"),
    _real("em_res_power_max", "Char.SpectralAxis.Resolution.ResolPower.HiLimit",
          "spect.resolution;stat.max", "Largest resolving power"),
    _real("em_resolution", "Char.SpectralAxis.Resolution.refval.value",
          "spect.resolution;stat.mean", "Mean resolution in wavelength", "m"),
    _count("em_xel", "Char.SpectralAxis.numBins", "meta.number",
           "Elements along the spectral axis"),
    _real("em_stat_error", "Char.SpectralAxis.Accuracy.StatError.refval.value", "stat.error;em",
          "Statistical error of wavelengths", "m"),
)  # fmt: skip

_OBSERVABLE = (
    _text("o_ucd", "Char.ObservableAxis.ucd", "meta.ucd", "UCD of what the pixels hold"),
    _text("o_unit", "Char.ObservableAxis.unit", "meta.unit", "Unit of what the pixels hold"),
    _text("o_calib_status", "Char.ObservableAxis.calibrationStatus", "meta.code.qual",
          "Calibration of the pixels: absolute, relative, normalized or any"),
    _real("o_stat_error", "Char.ObservableAxis.Accuracy.StatError.refval.value", "stat.error",
          "Statistical error of the pixels, in their unit"),
    _text("pol_states", "Char.PolarizationAxis.stateList", "meta.code;phys.polarization",
          "Polarisation states between slashes: /I/Q/U/"),
    _count("pol_xel", "Char.PolarizationAxis.numBins", "meta.number", "Polarisation states"),
    _text("facility_name", "Provenance.ObsConfig.Facility.name", "meta.id;instr.tel",
          "Telescope or observatory"),
    _text("instrument_name", "Provenance.ObsConfig.Instrument.name", "meta.id;instr",
          "Instrument"),
    _text("proposal_id", "Provenance.Proposal.identifier", "meta.id;obs.proposal",
          "Proposal or programme"),
)  # fmt: skip

_OWN = (_text("band", None, "meta.id;instr.filter", "Name of the band or filter"),)

OBSCORE: Final = TableMeta(
    schema=OBSCORE_SCHEMA,
    name=OBSCORE_NAME,
    columns=(*_OBSERVATION, *_ACCESS, *_SPACE, *_TIME, *_SPECTRUM, *_OBSERVABLE, *_OWN),
    description="Images that you may see, one row each (IVOA ObsCore 1.1)",
    utype=OBSCORE_DATA_MODEL,
    coordinate_system=CoordinateSystem(),
    ra_column="s_ra",
    dec_column="s_dec",
)
"""The table as it is declared."""

DERIVED_COLUMNS: Final = frozenset(
    {"obs_collection", "obs_publisher_did", "obs_release_date"}
    | {"access_url", "access_format", "access_estsize"}
)
"""Columns that follow from an image's record and not from its ``obscore`` values."""
