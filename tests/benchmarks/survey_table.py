"""A seeded survey-like catalog of any size, written as Parquet in pieces.

usage: python -m tests.benchmarks.survey_table --rows 50000000 --out FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["COLUMNS", "make_catalog"]

_PIECE = 1_000_000
_BANDS = "ugrizy"
COLUMNS = 30


def make_catalog(folder: Path, rows: int, *, seed: int = 11) -> list[Path]:
    """Write `rows` rows of `COLUMNS` columns in files of a million; files that exist stay.

    Positions are clustered on the sky and in no order, as they come from a pipeline; ids do not
    follow position.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, start in enumerate(range(0, rows, _PIECE)):
        path = folder / f"part-{number:04d}.parquet"
        paths.append(path)
        if not path.exists():
            partial = path.with_suffix(".tmp")
            pq.write_table(
                _piece(np.random.default_rng((seed, number)), start, min(_PIECE, rows - start)),
                partial,
                compression="zstd",
                compression_level=1,
            )
            partial.replace(path)
    return paths


def _piece(rng: np.random.Generator, start: int, rows: int) -> pa.Table:
    # A strip of 1/4 of the sky, so that densities are those of a larger survey.
    ra = rng.uniform(0, 360, rows)
    dec = np.degrees(np.arcsin(rng.uniform(-0.5, 0.0, rows)))
    magnitude = 26 - rng.exponential(2.0, rows)
    values: dict[str, object] = {
        "objectId": (1 << 60) + start + rng.permutation(rows),
        "ra": ra,
        "dec": dec,
        "raErr": rng.uniform(0.01, 0.3, rows).astype("f4"),
        "decErr": rng.uniform(0.01, 0.3, rows).astype("f4"),
        "tract": (ra // 1.5).astype("i4"),
        "patch": rng.integers(0, 100, rows).astype("i4"),
        "extendedness": (rng.random(rows) < 0.7).astype("f4"),
        "detect_isPrimary": rng.random(rows) < 0.9,
        "parentObjectId": np.where(rng.random(rows) < 0.1, start, 0).astype("i8"),
    }
    for band in _BANDS:
        flux = 10 ** ((31.4 - magnitude + rng.normal(0, 0.5, rows)) / 2.5)
        values[f"{band}_psfFlux"] = flux.astype("f4")
        values[f"{band}_psfFluxErr"] = (0.05 * flux + 20).astype("f4")
        values[f"{band}_cModelFlux"] = (flux * rng.uniform(1, 1.4, rows)).astype("f4")
    values["shape_xx"] = rng.gamma(2, 2, rows).astype("f4")
    values["shape_yy"] = rng.gamma(2, 2, rows).astype("f4")
    assert len(values) == COLUMNS
    return pa.table(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    print(len(make_catalog(arguments.out, arguments.rows)), "files")


if __name__ == "__main__":
    main()
