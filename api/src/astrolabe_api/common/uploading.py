"""Requests that bring tables and are answered at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import Request
from starlette.responses import Response

from astrolabe.core.ids import new_job_id
from astrolabe_api.common.params import Parameters, read_parameters
from astrolabe_api.common.state import ApiState

__all__ = ["answer_with_uploads"]


async def answer_with_uploads(
    request: Request,
    state: ApiState,
    answer: Callable[[Parameters, Callable[[], None]], Response],
) -> Response:
    """Read the parameters of a request, and keep its files until it has been answered.

    Parameters
    ----------
    answer
        Makes the response of the parameters; what it gets beside them removes the files, and is
        to be called when the response has been sent.

    Raises
    ------
    BadParameterError, TooLargeError
        Raised as by `read_parameters`; whatever `answer` raises is passed on.  No file is left.
    """
    query_id = new_job_id()
    forget = partial(state.uploads.delete, query_id)
    try:
        given = await read_parameters(
            request, limits=state.form_limits, new_file=partial(state.uploads.prepare, query_id)
        )
        return answer(given, forget if given.files else lambda: None)
    except BaseException:
        forget()
        raise
