"""SODA 1.0 at ``/api/cutout``: parts of images, at once or as jobs."""
