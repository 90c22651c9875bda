"""Mosaics and coadds on demand: many images resampled onto one grid and combined."""
