"""The simulated survey that `astrolabe up` serves when it has nothing else.

A seeded sky of about 25 square degrees around COSMOS (RA 150.1, Dec +2.2 deg): stars and galaxies
with believable counts, colours and sizes, variable stars, active nuclei, supernovae and main-belt
asteroids, observed in 500 visits of a small survey telescope with LSST's six bands.  The truth is
kept so that images and alerts of the same sky can be made later.
"""
