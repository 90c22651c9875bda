"""TAP 1.1 at ``/api/tap``."""
