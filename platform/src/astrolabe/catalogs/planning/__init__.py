"""Query planning: where a query's rows can be, before an engine sees it.

``sources`` finds the conditions that may be asked of each table and ``joins`` the columns that are
equal; ``conditions``, ``geometry`` and ``folding`` say what they mean, ``restrictions`` puts that
together, ``passing`` hands it on through joins, ``lookups`` finds values in indexes, ``pruning``
looks places up in the partition index, ``plan`` makes the engine's plan, and ``metadata`` answers
without an engine.  ``pairing`` finds joins of positions with footprints, ``staging`` what may be
read first for them, both with ``from_clauses``.
"""

from astrolabe.catalogs.planning.lookups import RowGroups
from astrolabe.catalogs.planning.metadata import metadata_answer
from astrolabe.catalogs.planning.plan import plan_query

__all__ = ["RowGroups", "metadata_answer", "plan_query"]
