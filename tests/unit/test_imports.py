"""The import contracts of pyproject.toml hold, and each of them fires when it is broken."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "autoheal"
CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}

VIOLATIONS = [
    # contract, the file that breaks it, what it says; `leaf.py` is an empty module that the test adds to every room
    ("layers", "core/leaf.py", "import autoheal.engine.leaf"),
    ("layers", "engine/leaf.py", "from autoheal.clients import leaf"),
    ("layers", "engine/leaf.py", "def later() -> None:\n    import autoheal.web.leaf"),
    ("layers", "engine/leaf.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import autoheal.web.leaf"),
    ("layers", "clients/leaf.py", "import autoheal.store.leaf"),
    ("layers", "store/leaf.py", "import autoheal.sources.leaf"),
    ("layers", "web/leaf.py", "import autoheal.remediator.leaf"),
    ("layers", "remediator/leaf.py", "import autoheal.app.leaf"),
    ("layers", "app/leaf.py", "import autoheal.cli.leaf"),
    ("layers", "attic.py", '"""A room that no layer names."""'),
    ("config-below", "config/leaf.py", "import autoheal.engine.leaf"),
    ("config-readers", "web/leaf.py", "import autoheal.config.leaf"),
    ("config-readers", "engine/leaf.py", "import autoheal.config.leaf"),
    ("actions", "actions/leaf.py", "import autoheal.actions.twig"),
    ("testing", "engine/leaf.py", "import autoheal.testing.leaf"),
    ("core-pure", "core/leaf.py", "import threading"),
    ("core-pure", "core/leaf.py", "import os.path"),
    ("core-pure", "core/leaf.py", "import yaml"),
    ("door-http", "web/leaf.py", "import httpx"),
    ("door-sql", "web/leaf.py", "import sqlite3"),
    ("door-sql", "engine/leaf.py", "from sqlalchemy import text"),
    ("door-broker", "clients/leaf.py", "import celery"),
    ("door-broker", "app/leaf.py", "from redis import Redis"),
    ("door-web", "engine/leaf.py", "import fastapi"),
    ("door-terminal", "engine/leaf.py", "import rich.table"),
]


def lint(folder: Path) -> set[str]:
    """The ids of the contracts that are broken in the copy of the package in `folder`."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    verdicts = dict(re.findall(r"^(.+?) (KEPT|BROKEN)", done.stdout, re.MULTILINE))
    assert verdicts.keys() == set(CONTRACTS.values()), done.stdout + done.stderr
    broken = {key for key, name in CONTRACTS.items() if verdicts[name] == "BROKEN"}
    assert done.returncode == (1 if broken else 0), done.stdout + done.stderr
    return broken


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    shutil.copytree(PACKAGE, folder / "autoheal", ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for room in [path.parent for path in (folder / "autoheal").glob("*/__init__.py")]:
        (room / "leaf.py").write_text('"""A module that nothing imports yet."""\n')
    (folder / "autoheal" / "actions" / "twig.py").touch()
    return folder


def test_the_tree_as_it_is_keeps_every_contract(copied: Path) -> None:
    assert lint(copied) == set()


@pytest.mark.parametrize(("contract", "file", "line"), VIOLATIONS, ids=[f"{c}:{f}" for c, f, _ in VIOLATIONS])
def test_a_contract_fires_when_it_is_broken(copied: Path, contract: str, file: str, line: str) -> None:
    path = copied / "autoheal" / file
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        assert lint(copied) == {contract}
    finally:
        path.unlink() if before is None else path.write_text(before)


def test_every_contract_is_broken_once_here() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == CONTRACTS.keys()


def test_core_imports_the_standard_library_only() -> None:
    """The contract names what is known today; this also finds a dependency that nobody has listed."""
    outside = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in sorted((PACKAGE / "core").rglob("*.py"))
        for name in imported(ast.parse(path.read_text()))
        if name not in sys.stdlib_module_names and name != "autoheal"
    ]
    assert outside == []


def imported(module: ast.Module) -> Iterator[str]:
    """The first part of every imported name, wherever the import stands."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").partition(".")[0]


def test_gates_do_not_call_each_other() -> None:
    from autoheal.core import gates

    names = {gate.__name__ for _, gate in gates.GATES}
    module = ast.parse(Path(gates.__file__).read_text())
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    assert names <= functions.keys(), "every gate is a function of core/gates.py"
    for name in names:
        used = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        assert used & (names - {name}) == set(), f"the gate {name} uses another gate"
