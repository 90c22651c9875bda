"""FITS files read by ranges: headers, where the pixels lie, and the pixels of any box."""
