"""The HTTP services of Astrolabe: parse, one call into :mod:`astrolabe`, shape the answer."""
