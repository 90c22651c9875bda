"""Query planning: where a query's rows can be, before an engine sees it.

``sources`` finds the conditions that may be asked of each table, ``conditions``, ``geometry`` and
``folding`` say what they mean, ``restrictions`` puts that together, ``pruning`` looks it up in the
partition index, ``plan`` makes the engine's plan, and ``metadata`` answers without an engine.
"""

from astrolabe.catalogs.planning.metadata import metadata_answer
from astrolabe.catalogs.planning.plan import plan_query

__all__ = ["metadata_answer", "plan_query"]
