"""Where a page may send somebody back to: this platform, nowhere else."""

from __future__ import annotations

from urllib.parse import urlsplit

from astrolabe.core.errors import BadParameterError
from astrolabe_api.common.csrf import origin_of

__all__ = ["DEFAULT_RETURN", "safe_return"]

DEFAULT_RETURN = "/account"


def safe_return(wanted: str | None, *, public_url: str) -> str:
    """Return the path, with its query, to which a browser may be sent after a login.

    A path, not a whole address: a browser that knows the platform by another of its names stays
    there.

    Parameters
    ----------
    wanted
        As it came with the request: a path, or an address of this platform; `None` for the default.
    public_url
        The platform's public address.

    Raises
    ------
    BadParameterError
        Raised if it leads anywhere else, or could be read as doing so.
    """
    if wanted is None or not wanted:
        return DEFAULT_RETURN
    error = BadParameterError(
        f"return_url must be an address of this platform, such as /account, not {wanted[:100]!r}."
    )
    # Browsers drop tabs and line ends, and take a backslash for a slash.
    if any(char <= " " or char in "\\\x7f" or not char.isprintable() for char in wanted):
        raise error
    try:
        parts = urlsplit(wanted)
        is_here = not (parts.scheme or parts.netloc) or origin_of(wanted) == origin_of(public_url)
    except ValueError as exc:
        raise error from exc
    if not is_here or "@" in parts.netloc or wanted.startswith("//"):
        raise error
    if not parts.path.startswith("/") or parts.path.startswith("//"):
        raise error
    return parts.path + (f"?{parts.query}" if parts.query else "")
