"""Tables as streams of Arrow record batches with full column metadata."""
