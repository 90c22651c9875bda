"""The house stands as it is drawn: where files may be, how long they may get, what they export."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "platform" / "src" / "astrolabe", ROOT / "api" / "src" / "astrolabe_api")
LONGEST_MODULE = 500

# A module past the limit says here why it is better in one piece.
LONG_MODULES: dict[str, str] = {}

# Top-level folders that may hold code or documents.
PLACES = {"platform", "api", "tests", "docs", "tools", ".ci", "portal", "helm"}


@cache
def _modules() -> tuple[Path, ...]:
    found = (path for source in SOURCES for path in source.rglob("*.py"))
    return tuple(sorted(path for path in found if "__pycache__" not in path.parts))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=10
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return done.stdout.splitlines()


@pytest.mark.parametrize("path", ["platform/__init__.py", "tests/platform", "api/__init__.py"])
def test_nothing_takes_the_place_of_the_standard_library(path: str) -> None:
    """A package called `platform` would replace the standard library's module of that name."""
    assert not (ROOT / path).exists()


def test_platform_is_still_the_standard_library() -> None:
    code = "import platform, uuid; print(platform.system(), uuid.uuid4().version)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[1] == "4"


def test_every_folder_has_its_place() -> None:
    folders = {name.split("/")[0] for name in _tracked() if "/" in name}
    assert folders <= PLACES, f"place {folders - PLACES} in the layout, or move it"


def test_every_layer_is_in_the_import_contracts() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {c["name"]: c for c in settings["tool"]["importlinter"]["contracts"]}
    listed = {
        layer.strip(" ()")
        for name in ("Order of the domain", "One app never imports another")
        for line in contracts[name]["layers"]
        for layer in line.split("|")
    }
    for source in SOURCES:
        found = {
            path.stem
            for path in source.iterdir()
            if (path.is_dir() and any(path.glob("*.py"))) or path.suffix == ".py"
        }
        assert found - {"__init__"} <= listed


def test_tests_are_packages() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert (path.parent / "__init__.py").exists(), f"{_name(path.parent)} has no __init__.py"


def test_modules_are_not_too_long() -> None:
    lengths = {_name(p): len(p.read_text(encoding="utf-8").splitlines()) for p in _modules()}
    too_long = {name for name, lines in lengths.items() if lines > LONGEST_MODULE}
    assert too_long == set(LONG_MODULES), "split them, or say in LONG_MODULES why not"


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_a_module_says_what_it_is_and_what_it_exports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.parent.name == "versions" and path.name[:1].isdigit():
        return  # a migration: Alembic reads it by its own names
    assert ast.get_docstring(tree), "a module begins with what it is for"
    if not _defines_or_imports(tree) and path.name == "__init__.py":
        return
    exported = _exported(tree)
    assert exported is not None, "a module lists what it exports in __all__"
    assert len(set(exported)) == len(exported)
    names = _top_level_names(tree)
    assert set(exported) <= names, f"exported but not there: {set(exported) - names}"


def _defines_or_imports(tree: ast.Module) -> bool:
    return any(not (isinstance(node, ast.Expr) or _is_future(node)) for node in tree.body)


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            value = getattr(node, "value", None)
            assert isinstance(value, ast.List | ast.Tuple), "__all__ is a plain list"
            return [str(ast.literal_eval(item)) for item in value.elts]
    return None


def _top_level_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((a.asname or a.name).split(".")[0] for a in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "duckdb pyarrow sqlalchemy pydantic astropy numpy uvicorn fastapi pyiceberg sqlglot"
    code = (
        "import sys, astrolabe, astrolabe.core.errors; "
        f"print(sorted(set('{heavy}'.split()) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.timeout(60)
def test_the_import_contracts_hold() -> None:
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [str(command), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
