"""One small catalog for all tests of queries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Datatype
from tests.support.tiny import import_columns, open_context, sky_points

ROWS = 20_000


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessContext]:
    home = tmp_path_factory.mktemp("query") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 2}) as made:
        rng = np.random.default_rng(3)
        spread = sky_points(ROWS - 3_000)
        north = sky_points(1_000, near=(0, 90, 3), seed=2)
        wrap = sky_points(1_000, near=(0, 5, 3), seed=4)
        south = sky_points(1_000, near=(0, -90, 3), seed=5)
        ra = np.concatenate([spread[0], north[0], wrap[0], south[0]])
        dec = np.concatenate([spread[1], north[1], wrap[1], south[1]])
        import_columns(
            made,
            "s",
            "star",
            {
                "id": (Datatype.LONG, (1 << 60) + rng.permutation(ROWS)),
                "ra": (Datatype.DOUBLE, ra),
                "dec": (Datatype.DOUBLE, dec),
                "mag": (Datatype.FLOAT, rng.normal(20, 2, ROWS)),
                "n": (Datatype.SHORT, rng.integers(-100, 100, ROWS)),
                "size": (Datatype.INT, rng.integers(0, 9, ROWS)),
                "name": (Datatype.CHAR, [f"star {k}" for k in range(ROWS)]),
            },
            id_column="id",
            rows_per_file=3_000,
            rows_per_group=300,
        )
        yield made
