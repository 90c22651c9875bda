"""The IVOA's XML schemas, as STILTS carries them."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

from lxml import etree

__all__ = ["assert_valid"]

_JARS = ("/usr/share/java/starlink-ttools.jar", "/usr/share/java/ttools.jar")
_FOLDER = "uk/ac/starlink/ttools/taplint/"
_FILES = {
    "http://www.ivoa.net/xml/VOResource/v1.0": "VOResource-v1.1.xsd",
    "http://www.ivoa.net/xml/VODataService/v1.1": "VODataService-v1.2.xsd",
    "http://www.ivoa.net/xml/TAPRegExt/v1.0": "TAPRegExt-v1.0-Erratum1.xsd",
    "http://www.ivoa.net/xml/VOSICapabilities/v1.0": "VOSICapabilities-v1.0.xsd",
    "http://www.ivoa.net/xml/VOSIAvailability/v1.0": "VOSIAvailability-v1.0.xsd",
    "http://www.ivoa.net/xml/VOSITables/v1.0": "VOSITables-v1.1.xsd",
    "http://www.ivoa.net/xml/UWS/v1.0": "UWS-v1.1.xsd",
    "http://www.ivoa.net/xml/STC/stc-v1.30.xsd": "stc-v1.30.xsd",
    "http://www.w3.org/1999/xlink": "xlink.xsd",
    "http://www.w3.org/XML/1998/namespace": "xmlnamespace.xsd",
}


@cache
def _schema(folder: Path) -> etree.XMLSchema:
    with zipfile.ZipFile(next(jar for jar in _JARS if Path(jar).exists())) as archive:
        for name in _FILES.values():
            document = etree.fromstring(archive.read(_FOLDER + name))
            for imported in document.iter("{http://www.w3.org/2001/XMLSchema}import"):
                namespace = str(imported.get("namespace"))
                if namespace in _FILES:
                    imported.set("schemaLocation", str(folder / _FILES[namespace]))
            (folder / name).write_bytes(etree.tostring(document))
    imports = "".join(
        f'<xs:import namespace="{namespace}" schemaLocation="{folder / name}"/>'
        for namespace, name in _FILES.items()
        if "STC" not in namespace and "xlink" not in namespace and "w3.org" not in namespace
    )
    text = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{imports}</xs:schema>'
    return etree.XMLSchema(etree.fromstring(text))


def assert_valid(document: bytes, folder: Path) -> etree._Element:
    """Check a document against the schemas of its namespaces; return its root."""
    root = etree.fromstring(document)
    schema = _schema(folder)
    assert schema.validate(root), str(schema.error_log)
    return root
