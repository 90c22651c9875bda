"""``ivoa.ObsCore``: its columns, how it is published, and what is asked of it."""
