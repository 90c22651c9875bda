"""Images themselves, and mosaics of them."""
