"""How light spreads: point-spread functions and galaxies as sums of Gaussians.

A galaxy seen through the atmosphere is its profile convolved with the point-spread function.  Both
as sums of Gaussians make the convolution exact and cheap: variances add (Hogg and Lang 2013, PASP
125, 719).  The sums are fitted here, when they are first asked for, so that there are no tables of
numbers to trust.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

__all__ = ["GaussianMix", "de_vaucouleurs", "exponential", "point_spread"]

Floats = npt.NDArray[np.float64]

_MOFFAT_BETA = 3.0
"""Wings of a point source; Kolmogorov turbulence gives 3 to 5."""
_VAUCOULEURS_CUT = 8.0
"""Where the profile ends, in half-light radii; without an end it holds light at any distance."""


@dataclass(frozen=True, slots=True, eq=False)
class GaussianMix:
    """A round profile: a sum of k Gaussians of unit light in all.

    Parameters
    ----------
    share : (k,)
        Light of each; the sum is 1.
    variance : (k,)
        Of each, along one axis, in the square of the profile's own unit of length.
    """

    share: Floats
    variance: Floats

    def scaled(self, length: float) -> GaussianMix:
        """Return the profile with its unit of length `length` units long."""
        return GaussianMix(self.share, self.variance * length**2)

    def widened(self, variance: float) -> GaussianMix:
        """Return the profile convolved with a Gaussian, such as that of the pixel."""
        return GaussianMix(self.share, self.variance + variance)

    @property
    def noise_area(self) -> float:
        """Pixels of noise that a fit of this profile takes in: 1 over the sum of its squares.

        In the square of the unit of length.  The flux of a point source fitted on a background of
        variance v a unit area has the variance v times this.
        """
        pairs = self.variance[:, None] + self.variance[None, :]
        overlap = self.share[:, None] * self.share[None, :] / (2 * np.pi * pairs)
        return float(1.0 / overlap.sum())


@cache
def point_spread() -> GaussianMix:
    """Return a Moffat function whose full width at half maximum is 1."""
    core = 0.5 / np.sqrt(2 ** (1 / _MOFFAT_BETA) - 1)
    radius = np.geomspace(0.01, 8.0, 400)
    profile = (1 + (radius / core) ** 2) ** -_MOFFAT_BETA
    return _fit(radius, profile, np.geomspace(0.25, 3.5, 8))


@cache
def exponential() -> GaussianMix:
    """Return a disk, surface brightness exp(-r/h), whose half-light radius is 1."""
    radius = np.geomspace(0.005, 6.0, 400)
    return _fit(radius, np.exp(-1.67835 * radius), np.geomspace(0.04, 2.2, 12))


@cache
def de_vaucouleurs() -> GaussianMix:
    """Return a bulge, surface brightness exp(-7.67 r**(1/4)), whose half-light radius is 1."""
    radius = np.geomspace(0.001, _VAUCOULEURS_CUT, 500)
    return _fit(radius, np.exp(-7.66925 * radius**0.25), np.geomspace(0.006, 4.0, 14))


def _fit(radius: Floats, profile: Floats, sigma: Floats) -> GaussianMix:
    """Fit Gaussians of given widths so that the light in rings agrees; negative light is not."""
    variance = sigma**2
    gaussians = np.exp(-(radius[:, None] ** 2) / (2 * variance)) / (2 * np.pi * variance)
    # Logarithmic steps in radius: a ring's light is profile times radius squared.
    weight = radius**1.5
    share, _ = nnls(gaussians * weight[:, None], profile * weight)
    used = share > share.sum() * 1e-4
    return GaussianMix(share[used] / share[used].sum(), variance[used])
