"""Text beyond ASCII arrives as it was, whatever the client decodes."""

from __future__ import annotations

from pathlib import Path

from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.tables.model import Datatype
from astrolabe.tables.readers import open_source
from tests.support.tiny import ask, open_context


def test_a_column_of_more_than_ascii_is_declared_so(tmp_path: Path) -> None:
    source = tmp_path / "stars.csv"
    source.write_text("ra,dec,name,plain\n1,2,Größe,a\n3,4,β Ori,b\n", encoding="utf-8")
    with open_context(tmp_path / "home") as context:
        report = run_import(
            open_source([source]), ImportOptions(schema="s", table="t"), context.catalog
        )
        assert any("'name'" in warning and "unicodeChar" in warning for warning in report.warnings)
        version = context.catalog.view(fresh=True).table("s", "t")
        assert version is not None
        types = {column.name: column.datatype for column in version.meta.columns}
        assert types["name"] is Datatype.UNICODE_CHAR
        assert types["plain"] is Datatype.CHAR
        names = ask(context, "SELECT name FROM s.t ORDER BY ra")["name"].to_pylist()
        assert names == ["Größe", "β Ori"]
