"""What requests to jobs ask for, read from their parameters."""

from __future__ import annotations

from datetime import datetime

from astrolabe.core.clock import parse_utc
from astrolabe.core.errors import BadParameterError
from astrolabe.jobs.model import JobParameter, Phase
from astrolabe_api.common.params import Parameters

__all__ = ["job_parameters", "read_phases", "read_time", "wait_seconds"]

_CONTROL = ("PHASE", "RUNID", "ACTION", "WAIT", "EXECUTIONDURATION", "DESTRUCTION")
_MAX_PARAMETERS = 1000
"""As many as one form may have: a job of cutouts may name hundreds of images."""


def job_parameters(parameters: Parameters) -> tuple[JobParameter, ...]:
    """Return what belongs to the job itself, not to its control.

    Raises
    ------
    BadParameterError
        Raised if there are more than any job needs.
    """
    pairs = dict.fromkeys(parameters.pairs(without=_CONTROL))
    if len(pairs) > _MAX_PARAMETERS:
        raise BadParameterError(f"A job can have at most {_MAX_PARAMETERS} parameters.")
    return tuple(JobParameter(name, value) for name, value in pairs)


def read_phases(parameters: Parameters) -> tuple[Phase, ...]:
    """Return the phases that PHASE parameters name.

    Raises
    ------
    BadParameterError
        Raised if one is no phase.
    """
    phases = []
    for value in parameters.values("PHASE"):
        name = value.strip().upper()
        if name not in Phase.__members__:
            raise BadParameterError(
                f"{value[:100]!r} is no phase of a job; PHASE is one of {', '.join(Phase)}."
            )
        phases.append(Phase[name])
    return tuple(phases)


def read_time(parameters: Parameters, name: str) -> datetime | None:
    """Return the time in parameter `name`, `None` without it.

    Raises
    ------
    BadParameterError
        Raised if it is no ISO 8601 time.
    """
    value = parameters.single(name)
    if value is None:
        return None
    try:
        return parse_utc(value)
    except (ValueError, OverflowError) as exc:
        raise BadParameterError(
            f"{name} must be a time such as 2026-12-31T23:59:59Z, not {value[:100]!r}."
        ) from exc


def wait_seconds(parameters: Parameters, *, limit: int) -> int:
    """Return how long a request may block (s): 0 without WAIT, `limit` for any negative value.

    Raises
    ------
    BadParameterError
        Raised if WAIT is no whole number.
    """
    asked = parameters.integer("WAIT")
    if asked is None:
        return 0
    return limit if asked < 0 else min(asked, limit)
