from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.core.errors import BadParameterError
from astrolabe.tables.formats import OUTPUT_FORMATS, resolve_format
from astrolabe.tables.model import ResultHeader
from astrolabe.tables.writers import CannotReportError, open_writer

from .samples import COLUMNS, batch, header

VOTABLE = "application/x-votable+xml"


@pytest.mark.parametrize(
    ("text", "name", "mime"),
    [
        (None, "votable/b2", VOTABLE),
        ("", "votable/b2", VOTABLE),
        ("votable", "votable/b2", VOTABLE),
        ("VOTable/TD", "votable/td", f"{VOTABLE};serialization=tabledata"),
        ("votable_plain", "votable/td", f"{VOTABLE};serialization=tabledata"),
        ("votable/b2", "votable/b2", VOTABLE),
        ("text/xml", "votable/b2", "text/xml"),
        (VOTABLE.upper(), "votable/b2", VOTABLE),
        (f"{VOTABLE} ; Serialization = TABLEDATA", "votable/td", None),
        (f'{VOTABLE};serialization="binary"', "votable/b", None),
        (f"{VOTABLE};serialization=BINARY2", "votable/b2", f"{VOTABLE};serialization=binary2"),
        ("csv", "csv", "text/csv;header=present"),
        ("text/csv", "csv", "text/csv"),
        ("text/csv; header=present", "csv", "text/csv;header=present"),
        ("text/csv;charset=UTF-8", "csv", "text/csv"),
        (" TSV ", "tsv", "text/tab-separated-values"),
        ("text/tab-separated-values", "tsv", "text/tab-separated-values"),
    ],
)
def test_a_format_is_found_by_any_of_its_names(
    text: str | None, name: str, mime: str | None
) -> None:
    output = resolve_format(text)
    assert output.name == name
    assert mime is None or output.mime == mime


def test_votable_gzip_says_that_its_body_is_compressed() -> None:
    output = resolve_format("votable_gzip")
    assert (output.name, output.gzip) == ("votable/b2", True)
    assert not resolve_format("votable").gzip


@given(st.text(max_size=200))
@settings(max_examples=50, deadline=None)
def test_what_is_not_offered_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(BadParameterError) as caught:
        resolve_format(f"no/{text}")
    for output in OUTPUT_FORMATS:
        assert output.aliases[0] in caught.value.message
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("text", ["text/csv;header=absent", "application/pdf", f"{VOTABLE};a=b"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadParameterError, match="is not offered"):
        resolve_format(text)


def test_every_format_writes_and_has_names_of_its_own() -> None:
    names: list[str] = []
    for output in OUTPUT_FORMATS:
        names += [output.mime, *output.other_mimes, *output.aliases]
        writer = open_writer(output, header())
        pieces = [
            *writer.start(),
            *writer.write(batch().slice(0, 2)),
            *writer.finish(overflow=True),
        ]
        writer.close()
        assert b"".join(pieces)
        assert output.extension.startswith(".")
    assert len(names) == len(set(names))


def test_a_form_without_a_trailer_cannot_report() -> None:
    for output in OUTPUT_FORMATS:
        writer = open_writer(output, ResultHeader(columns=COLUMNS))
        list(writer.start())
        if output.can_report_errors:
            assert b"oops" in b"".join(writer.fail("oops"))
        else:
            with pytest.raises(CannotReportError):
                list(writer.fail("oops"))
        writer.close()
