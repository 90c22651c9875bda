"""The whole simulated survey: what is on the sky and how it was observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astrolabe.demo.observing import DAYS, FIRST_MJD, Visits, make_visits
from astrolabe.demo.truth import Asteroids, Truth, make_asteroids, make_truth

__all__ = ["SEED", "DemoSize", "Survey", "make_survey"]

SEED = 20_250_101
"""The one seed: everything else follows from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSize:
    """How much to simulate; tests take less."""

    objects: int = 300_000
    visits: int = 500
    asteroids: int = 400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """The simulated sky and how it was observed; the same at every call of the same size."""

    truth: Truth
    asteroids: Asteroids
    visits: Visits


def make_survey(size: DemoSize | None = None) -> Survey:
    """Draw the sky and the visits; later images and alerts are made of the same."""
    wanted = size or DemoSize()
    rng = np.random.default_rng(SEED)
    span = {"first_mjd": FIRST_MJD, "days": DAYS}
    return Survey(
        truth=make_truth(rng, wanted.objects, **span),
        asteroids=make_asteroids(rng, wanted.asteroids, **span),
        visits=make_visits(rng, wanted.visits),
    )
