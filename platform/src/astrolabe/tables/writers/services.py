"""Service descriptors in VOTables (DataLink 1.1, section 4)."""

from __future__ import annotations

import re

from astrolabe.tables.model import ResultHeader, ServiceDescriptor, ServiceParam
from astrolabe.tables.writers.xml_values import xml_attribute, xml_text

__all__ = ["reference_ids", "service_resource", "service_resources"]

_XML_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_RESERVED_IDS = frozenset({"coordinates"})


def reference_ids(header: ResultHeader) -> dict[str, str]:
    """Return the XML IDs of the columns that services refer to, by the columns' names.

    An ID is the name itself where it can be: some readers call their columns by it.
    """
    wanted = {
        param.column
        for service in header.services
        for param in service.params
        if param.column is not None
    }
    taken = _RESERVED_IDS | {service.service_id for service in header.services}
    found: dict[str, str] = {}
    for number, column in enumerate(header.columns, start=1):
        if column.name in wanted:
            fits = _XML_NAME.match(column.name) is not None and column.name not in taken
            found[column.name] = column.name if fits else f"column-{number}"
    return found


def service_resources(header: ResultHeader) -> str:
    """Return one RESOURCE for each service of a result."""
    ids = reference_ids(header)
    return "".join(service_resource(service, ids) for service in header.services)


def service_resource(service: ServiceDescriptor, ids: dict[str, str]) -> str:
    """Return the RESOURCE that describes a service.

    Parameters
    ----------
    ids
        XML IDs of the columns that its inputs refer to, by name; an input whose column is not
        among them makes no sense and is an error of the program.
    """
    attributes = {
        "type": "meta",
        "utype": "adhoc:this" if service.is_self else "adhoc:service",
        "ID": service.service_id,
        "name": service.name,
    }
    parts = ["<RESOURCE", *_attributes(attributes), ">\n"]
    if service.description is not None:
        parts.append(f"<DESCRIPTION>{xml_text(service.description)}</DESCRIPTION>\n")
    for name, value in (
        ("standardID", service.standard_id),
        ("accessURL", service.access_url),
        ("contentType", service.content_type),
    ):
        if value is not None:
            parts.append(
                f'<PARAM name="{name}" datatype="char" arraysize="*" '
                f"value={xml_attribute(value)}/>\n"
            )
    parts.append('<GROUP name="inputParams">\n')
    parts += [_param(param, ids) for param in service.params]
    parts.append("</GROUP>\n</RESOURCE>\n")
    return "".join(parts)


def _param(param: ServiceParam, ids: dict[str, str]) -> str:
    attributes = {
        "name": param.name,
        "datatype": param.datatype.value,
        "arraysize": param.arraysize,
        "unit": param.unit,
        "ucd": param.ucd,
        "utype": param.utype,
        "xtype": param.xtype,
        "ref": None if param.column is None else ids[param.column],
        "value": param.value,
    }
    inside = ""
    if param.description is not None:
        inside += f"<DESCRIPTION>{xml_text(param.description)}</DESCRIPTION>"
    bounds = [
        f"<{tag} value={xml_attribute(value)}/>"
        for tag, value in (("MIN", param.minimum), ("MAX", param.maximum))
        if value is not None
    ]
    bounds += [f"<OPTION value={xml_attribute(option)}/>" for option in param.options]
    if bounds:
        inside += f"<VALUES>{''.join(bounds)}</VALUES>"
    start = "".join(("<PARAM", *_attributes(attributes)))
    return f"{start}>{inside}</PARAM>\n" if inside else f"{start}/>\n"


def _attributes(values: dict[str, str | None]) -> list[str]:
    return [
        f" {name}={xml_attribute(value)}" for name, value in values.items() if value is not None
    ]
