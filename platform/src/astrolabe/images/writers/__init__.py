"""Writers of cutouts: FITS, pictures, and bundles of many stamps."""
