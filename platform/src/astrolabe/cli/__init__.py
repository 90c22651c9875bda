"""The command `astrolabe`: parses flags, reads the settings, calls one thing, says how it went."""

__all__: list[str] = []
