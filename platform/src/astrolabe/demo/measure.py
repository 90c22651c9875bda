"""From the truth to what the simulated pipeline measures: the rows of the demo's tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.demo.camera import (
    FIELD_RADIUS_DEG,
    detector_of,
    detector_xy,
    patch_of,
    tract_of,
)
from astrolabe.demo.columns import FORCED_SOURCE, OBJECT, SOURCE, VISIT
from astrolabe.demo.observing import Visits
from astrolabe.demo.sphere import separation_deg
from astrolabe.demo.truth import BANDS, Asteroids, Truth
from astrolabe.tables.model import Column, arrow_type

__all__ = [
    "coadd_depth",
    "flux_njy",
    "forced_source_batches",
    "moving_objects",
    "object_table",
    "source_batches",
    "visit_table",
]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_COADD_GAIN_MAG = 1.3
"""How much deeper the coadd is than one visit (AB mag)."""
_SEED = 7_001


def flux_njy(mag: Floats) -> Floats:
    """Turn AB magnitudes into nJy."""
    return 10.0 ** ((31.4 - mag) / 2.5)


def object_table(truth: Truth, visits: Visits) -> pa.Table:
    """Measure every object in the coadds of all visits."""
    rng = np.random.default_rng(_SEED)
    count = len(truth)
    total = flux_njy(truth.mag)
    noise = flux_njy(coadd_depth(visits))[None, :] / 5.0
    extended = truth.radius_arcsec > 0
    # The larger a galaxy, the less of its light falls into a point-source fit.
    share = np.where(extended, 1.0 / (1.0 + 0.45 * (truth.radius_arcsec / 0.45) ** 1.2), 1.0)
    model_error = np.sqrt(noise**2 * (1 + (truth.radius_arcsec[:, None] / 0.5) ** 2) + total * 2.0)
    point_error = np.sqrt(noise**2 + total * share[:, None] * 2.0)
    values: dict[str, npt.NDArray[Any]] = {}
    for number, band in enumerate(BANDS):
        point = total[:, number] * share + rng.normal(0, 1, count) * point_error[:, number]
        model = total[:, number] + rng.normal(0, 1, count) * model_error[:, number]
        values[f"{band}_psfFlux"] = point
        values[f"{band}_psfFluxErr"] = point_error[:, number]
        values[f"{band}_cModelFlux"] = model
        values[f"{band}_cModelFluxErr"] = model_error[:, number]
    signal = total[:, 3] / model_error[:, 3]
    position_error = 0.45 / 3600 / np.maximum(signal, 1.0) + 5e-3 / 3600
    ra = truth.ra_deg + rng.normal(0, 1, count) * position_error / np.cos(np.radians(truth.dec_deg))
    dec = truth.dec_deg + rng.normal(0, 1, count) * position_error
    parents, children = np.unique(truth.parent[truth.parent >= 0], return_counts=True)
    child_count = np.zeros(count, dtype=np.int64)
    child_count[parents] = children
    xx, yy, xy = _moments(truth)
    blended = truth.parent >= 0
    values |= {
        "objectId": truth.object_id,
        "coord_ra": ra,
        "coord_dec": dec,
        "coord_raErr": position_error,
        "coord_decErr": position_error,
        "tract": tract_of(truth.ra_deg, truth.dec_deg),
        "patch": patch_of(truth.ra_deg, truth.dec_deg),
        "parentObjectId": np.ma.array(truth.object_id[np.maximum(truth.parent, 0)], mask=~blended),
        "deblend_nChild": child_count,
        "detect_isPrimary": np.ones(count, dtype=bool),
        "refBand": np.full(count, "i"),
        "refExtendedness": np.ma.array(
            np.where(rng.random(count) < _confusion(signal), ~extended, extended).astype(float),
            mask=signal < 4,
        ),
        "shape_xx": xx,
        "shape_yy": yy,
        "shape_xy": xy,
        "i_blendedness": np.where(blended, rng.uniform(0.05, 0.6, count), 0.0),
        "ebv": 0.018 + 0.004 * np.sin(np.radians(truth.ra_deg * 40)) + rng.normal(0, 2e-4, count),
        "nVisits": _coverage(truth, visits),
    }
    return pa.Table.from_batches([_batch(OBJECT, values)])


def visit_table(visits: Visits) -> pa.Table:
    """Describe every visit."""
    half_day = visits.exposure_s / 2 / 86_400
    epoch = np.datetime64("1858-11-17T00:00:00", "us")
    middle = epoch + np.round(visits.mid_mjd * 86_400e6).astype("timedelta64[us]")
    values: dict[str, npt.NDArray[Any]] = {
        "visit": visits.visit,
        "band": _band_names(visits.band),
        "ra": visits.ra_deg,
        "dec": visits.dec_deg,
        "skyRotation": visits.rotation_deg,
        "altitude": visits.altitude_deg,
        "azimuth": visits.azimuth_deg,
        "airmass": visits.airmass,
        "expTime": np.full(len(visits), visits.exposure_s),
        "expMidpt": middle,
        "expMidptMJD": visits.mid_mjd,
        "obsStartMJD": visits.mid_mjd - half_day,
        "seeing": visits.seeing_arcsec,
        "magLim": visits.depth_mag,
        "skyBackground": visits.sky_njy,
    }
    return pa.Table.from_batches([_batch(VISIT, values)])


def source_batches(truth: Truth, asteroids: Asteroids, visits: Visits) -> Iterator[pa.RecordBatch]:
    """Detect what stands out at 5 sigma in each visit, moving objects included; one batch each."""
    for number in range(len(visits)):
        yield _detections(truth, asteroids, visits, number)


def forced_source_batches(truth: Truth, visits: Visits) -> Iterator[pa.RecordBatch]:
    """Measure every object that each visit covers, whether it stands out or not."""
    for number in range(len(visits)):
        rng = np.random.default_rng((_SEED, 2, number))
        rows = _covered(truth.ra_deg, truth.dec_deg, visits, number)
        seen, error, mean = _fluxes(truth, visits, number, rows, rng)
        count = len(rows)
        yield _batch(
            FORCED_SOURCE,
            {
                "forcedSourceId": (np.int64(number) << 32) + np.arange(count),
                "objectId": truth.object_id[rows],
                "visit": np.full(count, visits.visit[number]),
                "detector": detector_of(
                    truth.ra_deg[rows], truth.dec_deg[rows], visits.pointing(number)
                ),
                "band": np.full(count, BANDS[visits.band[number]]),
                "midpointMjdTai": np.full(count, visits.mid_mjd[number]),
                "coord_ra": truth.ra_deg[rows],
                "coord_dec": truth.dec_deg[rows],
                "psfFlux": seen,
                "psfFluxErr": error,
                "psfDiffFlux": seen - mean,
                "psfDiffFluxErr": error * 1.05,
                "psfFlux_flag": rng.random(count) < 0.002,
            },
        )


def _detections(truth: Truth, asteroids: Asteroids, visits: Visits, number: int) -> pa.RecordBatch:
    rng = np.random.default_rng((_SEED, 1, number))
    rows = _covered(truth.ra_deg, truth.dec_deg, visits, number)
    seen, error, _ = _fluxes(truth, visits, number, rows, rng)
    found = seen > 5 * error
    rows, seen, error = rows[found], seen[found], error[found]
    moving_ra, moving_dec, moving_flux = moving_objects(asteroids, visits, number)
    noise = np.full(len(moving_flux), flux_njy(visits.depth_mag[number]) / 5)
    bright = moving_flux > 5 * noise
    ra = np.concatenate([truth.ra_deg[rows], moving_ra[bright]])
    dec = np.concatenate([truth.dec_deg[rows], moving_dec[bright]])
    seen = np.concatenate([seen, moving_flux[bright]])
    error = np.concatenate([error, noise[bright]])
    count, fixed = len(ra), len(rows)
    position_error = (0.5 * visits.seeing_arcsec[number] * error / seen + 0.015) / 3600
    extended = np.concatenate([truth.radius_arcsec[rows] > 0.3, np.zeros(count - fixed, bool)])
    ids = np.concatenate([truth.object_id[rows], np.zeros(count - fixed, np.int64)])
    seen_ra = np.mod(ra + rng.normal(0, 1, count) * position_error / np.cos(np.radians(dec)), 360.0)
    seen_dec = dec + rng.normal(0, 1, count) * position_error
    detector, x, y = detector_xy(seen_ra, seen_dec, visits.pointing(number))
    return _batch(
        SOURCE,
        {
            "sourceId": (np.int64(visits.visit[number]) << 20) + np.arange(count),
            "objectId": np.ma.array(ids, mask=np.arange(count) >= fixed),
            "visit": np.full(count, visits.visit[number]),
            "detector": detector,
            "band": np.full(count, BANDS[visits.band[number]]),
            "midpointMjdTai": np.full(count, visits.mid_mjd[number]),
            "coord_ra": seen_ra,
            "coord_dec": seen_dec,
            "raErr": position_error,
            "decErr": position_error,
            "x": x,
            "y": y,
            "psfFlux": seen,
            "psfFluxErr": error,
            "ap12Flux": seen * np.where(extended, 1.25, 1.0) + rng.normal(0, 1, count) * error * 2,
            "ap12FluxErr": error * 2.2,
            "sky": visits.sky_njy[number] * rng.normal(1.0, 0.01, count),
            "extendedness": extended.astype(float),
            "psfFlux_flag": rng.random(count) < 0.002,
        },
    )


def _fluxes(
    truth: Truth, visits: Visits, number: int, rows: Rows, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return measured flux, its error and the object's mean flux, as a point source (nJy)."""
    band = int(visits.band[number])
    size = truth.radius_arcsec[rows] / (0.5 * visits.seeing_arcsec[number])
    share = 1.0 / (1.0 + 0.45 * size**1.2)
    mean = flux_njy(truth.mag[rows, band]) * share
    true = flux_njy(truth.magnitude_at(rows, band, float(visits.mid_mjd[number]))) * share
    noise = flux_njy(visits.depth_mag[number]) / 5
    # Sky noise, the source's own photons, and half a per cent that calibration leaves.
    error = np.sqrt(noise**2 + true * 8.0 + (0.005 * true) ** 2)
    return true + rng.normal(0, 1, len(rows)) * error, error, mean


def moving_objects(
    asteroids: Asteroids, visits: Visits, number: int
) -> tuple[Floats, Floats, Floats]:
    """Return position (deg) and flux (nJy) of the asteroids that a visit covers."""
    days = visits.mid_mjd[number] - asteroids.epoch_mjd
    dec = asteroids.dec_deg + days * asteroids.rate_dec_deg_day
    ra = asteroids.ra_deg + days * asteroids.rate_ra_deg_day / np.cos(
        np.radians(np.clip(dec, -80, 80))
    )
    # A straight arc is good for about twelve days to either side.
    near = np.abs(days) < 12
    rows = np.flatnonzero(near)
    rows = rows[
        separation_deg(ra[rows], dec[rows], visits.ra_deg[number], visits.dec_deg[number])
        < FIELD_RADIUS_DEG
    ]
    color = np.array([2.1, 0.6, 0.0, -0.2, -0.25, -0.25])[visits.band[number]]
    return np.mod(ra[rows], 360.0), dec[rows], flux_njy(asteroids.mag_r[rows] + color)


def _covered(ra_deg: Floats, dec_deg: Floats, visits: Visits, number: int) -> Rows:
    ra0, dec0 = visits.ra_deg[number], visits.dec_deg[number]
    # A band in declination first: a haversine of all objects for each visit would be slow.
    near = np.flatnonzero(np.abs(dec_deg - dec0) <= FIELD_RADIUS_DEG)
    inside = separation_deg(ra_deg[near], dec_deg[near], ra0, dec0) < FIELD_RADIUS_DEG
    return near[inside]


def _coverage(truth: Truth, visits: Visits) -> npt.NDArray[np.int64]:
    count = np.zeros(len(truth), dtype=np.int64)
    for number in range(len(visits)):
        count[_covered(truth.ra_deg, truth.dec_deg, visits, number)] += 1
    return count


def coadd_depth(visits: Visits) -> Floats:
    """Return the 5-sigma depth of the coadds in each band (AB mag, point sources)."""
    return (
        np.array(
            [
                np.median(visits.depth_mag[visits.band == band])
                if (visits.band == band).any()
                else 22
                for band in range(len(BANDS))
            ]
        )
        + _COADD_GAIN_MAG
    )


def _moments(truth: Truth) -> tuple[Floats, Floats, Floats]:
    seeing = (0.9 / 2.355) ** 2
    major = truth.radius_arcsec**2 / 1.4
    minor = major * truth.axis_ratio**2
    angle = np.radians(90.0 - truth.angle_deg)
    cos2, sin2 = np.cos(angle) ** 2, np.sin(angle) ** 2
    return (
        major * cos2 + minor * sin2 + seeing,
        major * sin2 + minor * cos2 + seeing,
        (major - minor) * np.cos(angle) * np.sin(angle),
    )


def _confusion(signal: Floats) -> Floats:
    """Return how often a star and a galaxy are taken for one another."""
    return 0.5 * np.exp(-np.maximum(signal, 0) / 8.0)


def _band_names(bands: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    return np.array(list(BANDS))[bands]


def _batch(columns: tuple[Column, ...], values: dict[str, npt.NDArray[Any]]) -> pa.RecordBatch:
    arrays = []
    for column in columns:
        value = values[column.name]
        kind = arrow_type(column)
        mask = np.ma.getmaskarray(value) if isinstance(value, np.ma.MaskedArray) else None
        plain = np.ma.getdata(value)
        if pa.types.is_integer(kind):
            plain = plain.astype(np.int64)
        arrays.append(pa.array(plain, mask=mask).cast(kind))
    return pa.RecordBatch.from_arrays(
        arrays, schema=pa.schema([(column.name, arrow_type(column)) for column in columns])
    )
