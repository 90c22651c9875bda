"""What may not be read does not exist; to a caller without a login, what does not exist may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from astrolabe.core.errors import NotFoundError, UnauthenticatedError
from astrolabe.identity import Principal
from astrolabe_api.common.state import ApiState

__all__ = ["hiding"]


@contextmanager
def hiding(state: ApiState, caller: Principal, *, images: bool = False) -> Iterator[None]:
    """Answer an anonymous caller 401 where another one gets 404, whatever is there.

    Only where a login may show more: where everything is public, 404 says what is true.

    Parameters
    ----------
    state
        Knows the catalog.
    caller
        Who asks for something by its name.
    images
        Whether it is an image or a collection of them, not a table.

    Raises
    ------
    UnauthenticatedError
        Raised in the place of `NotFoundError`.
    """
    try:
        yield
    except NotFoundError as exc:
        context = state.context
        known = context.images.access if images else context.readable
        if caller.is_anonymous and known.hides_something():
            raise UnauthenticatedError(
                "There is nothing of this name for everybody; log in to see whether there is "
                "something for you."
            ) from exc
        raise
