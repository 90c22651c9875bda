"""A table's metadata survives the control database."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.catalogs.metadata import table_meta_from_json, table_meta_to_json
from astrolabe.tables.model import Column, CoordinateSystem, Datatype, ForeignKey, TableMeta

_text = st.text(min_size=1, max_size=12)
_maybe = st.none() | _text
_columns = st.builds(
    Column,
    name=_text,
    datatype=st.sampled_from(Datatype),
    arraysize=st.sampled_from([None, "*", "3", "2x3"]),
    unit=_maybe,
    ucd=_maybe,
    utype=_maybe,
    xtype=_maybe,
    description=_maybe,
    principal=st.booleans(),
    indexed=st.booleans(),
    std=st.booleans(),
    nullable=st.booleans(),
    precision=_maybe,
)
_keys = st.builds(
    ForeignKey,
    key_id=_text,
    from_table=_text,
    target_table=_text,
    columns=st.lists(st.tuples(_text, _text), min_size=1, max_size=2).map(tuple),
    description=_maybe,
    utype=_maybe,
)
_metas = st.builds(
    TableMeta,
    schema=_text,
    name=_text,
    columns=st.lists(_columns, max_size=4).map(tuple),
    description=_maybe,
    utype=_maybe,
    table_type=st.sampled_from(["table", "view"]),
    keys=st.lists(_keys, max_size=2).map(tuple),
    coordinate_system=st.none()
    | st.builds(
        CoordinateSystem,
        epoch=st.none() | st.floats(1900, 2100),
        ref_position=_maybe,
    ),
    ra_column=_maybe,
    dec_column=_maybe,
    id_column=_maybe,
    row_count=st.none() | st.integers(0, 2**62),
    table_index=st.none() | st.integers(0, 99),
)


@given(_metas)
@settings(max_examples=25, deadline=None)
def test_round_trip(meta: TableMeta) -> None:
    assert table_meta_from_json(table_meta_to_json(meta)) == meta
