"""The package is built in layers: a module imports only what stands before it; heavy packages have one home each."""

from __future__ import annotations

import ast
from pathlib import Path

import onnx
import pytest

from onnxsurgeon.ops import OPERATORS

ROOT = Path(__file__).parents[1] / "onnxsurgeon"
ORDER = """
    errors amounts data neurons selection signature ops vertices facts samples rewrites graph problem utility spaces
    solver
    recipe roles growth edit resize wire load write surgery requests inspection metrics reference inputs visible session
    validate placing proving network comparison evaluation
    consumers segments fit statistics refit rotation restated reconstruction compensate measured backward joint
    observed calibrate
    budgets prune search sensitivity report changes plot tables cli
""".split()
HOMES = {
    "highspy": {"solver"},
    "onnxruntime": {"session"},
    "rich": {"tables", "cli"},
    "typer": {"cli"},
    "yaml": {"cli"},
}
LIGHT = {"errors", "amounts", "report", "cli"}  # what --help imports: nothing heavy at module level
LATE = {"progress.py", "batch.py", "edited.py"}  # what the command line imports when it is needed
HEAVY = {"highspy", "numpy", "onnx", "onnx_ir", "onnxruntime", "rich", "yaml"}
LINES = 350
MAKERS = {"Node", "add", "node", "_node", "_before"}  # make a vertex: what they are given names what is made
WORDS = {"surgery/blocks.py", "cli/operations.py"}  # of users, for what is to be made

FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem not in ("__init__", "__main__"))


def layer(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path, *, top: bool = False) -> set[str]:
    """Dotted names that a file imports; `top`: at module level and not only for types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(names: set[str]) -> set[str]:
    """The layers among imported names."""
    parts = [name.split(".") for name in names if name.startswith("onnxsurgeon.")]
    return {part[1] for part in parts if part[1] in ORDER}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_before_it(path: Path) -> None:
    assert layer(path) in ORDER, "a new module needs a place in the order"
    allowed = set(ORDER[: ORDER.index(layer(path)) + 1])
    assert own(imports(path)) <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_heavy_package_is_imported_in_one_place(path: Path) -> None:
    for package, homes in HOMES.items():
        if any(name.split(".")[0] == package for name in imports(path)):
            assert layer(path) in homes, package


def test_what_help_needs_is_light() -> None:
    for path in FILES:
        if layer(path) in LIGHT and path.name not in LATE:
            assert not {name.split(".")[0] for name in imports(path, top=True)} & HEAVY, path
            assert own(imports(path, top=True)) <= LIGHT, path


def test_the_problem_knows_no_solver_and_the_solver_no_graph() -> None:
    assert not own(imports(ROOT / "problem.py"))
    for path in (ROOT / "solver").glob("*.py"):
        assert own(imports(path)) <= {"errors", "problem", "solver"}


def test_every_layer_exists() -> None:
    assert {layer(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_ops_tells_operators_apart(path: Path) -> None:
    """No other module knows one by its name; it may make a vertex of it."""
    if layer(path) == "ops" or path.relative_to(ROOT).as_posix() in WORDS:
        return
    known = {schema.name for schema in onnx.defs.get_all_schemas()} | {name for _, name in OPERATORS}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = {id(a) for c in calls if {getattr(c.func, key, None) for key in ("id", "attr")} & MAKERS for a in c.args}
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in known]
    assert not [(node.lineno, node.value) for node in named if id(node) not in made]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES
