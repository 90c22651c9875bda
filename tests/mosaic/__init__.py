"""Mosaics and coadds on demand."""
