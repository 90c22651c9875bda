"""Mosaics and coadds on demand at ``/api/mosaic``: jobs, and what they will cost."""
