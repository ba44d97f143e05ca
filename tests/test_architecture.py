"""The package is built of rooms: each imports only from those before it; heavy packages have one home each."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import onnx
import pytest

from onnxsurgeon.ops import OPERATORS
from paths import ROOT

PACKAGE = ROOT / "onnxsurgeon"
ROOMS = """
    errors arrays
    install files units notebook
    options
    metrics
    model
    data
    neurons
    solver
    ops
    dependency
    inspection
    edit
    runtime
    latency
    proof
    calibration
    training
    compensation
    importance
    evaluation
    surgery
    pruning
    search
    report
    cli
"""  # from the ground up: a room imports only from those above it in this list
ORDER = ROOMS.split()
HOMES = {
    "highspy": {"solver"},
    "onnxruntime": {"runtime"},
    "rich": {"report", "cli"},
    "typer": {"cli"},
    "yaml": {"cli"},
}
HEAVY = {"highspy", "numpy", "onnx", "onnx_ir", "onnxruntime", "rich", "yaml"}
LINES = 350
LEVELS, ARROWS = 16, 242
MAKERS = {"Node", "add", "emit", "node", "_node", "_before"}  # make a node: what they are given names what is made
# of users, for what is to be made
WORDS = {"search/default_spaces.py", "search/layer_spaces.py", "surgery/blocks.py", "surgery/parameters.py"}
SETTERS = ("attribute", "set_attribute", "Attr")  # their first argument names an attribute of a node
# names of attributes that are also keys of reports or words of options
ENGLISH = set(
    "activation axes bias dtype high low mean momentum seed shape size type upper value weights zeros".split()
)
CHANGES = {"replace_input_with", "replace_all_uses_with", "register_initializer", "resize_inputs", "prepend", "Node"}
CONNECTIONS = {"inputs", "outputs", "initializers", "attributes"}
MUTATIONS = {"add", "append", "clear", "extend", "insert", "pop", "remove", "update"}

FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or p.stem not in ("__init__", "__main__")]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def walked(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a file."""
    return tuple(ast.walk(parsed(path)))


@cache
def imports(path: Path, *, top: bool = False) -> frozenset[str]:
    """Dotted names that a file imports; `top`: at module level and not only for types."""
    found = set[str]()
    for node in parsed(path).body if top else walked(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


@cache
def operator_names() -> frozenset[str]:
    return frozenset({schema.name for schema in onnx.defs.get_all_schemas()} | {name for _, name in OPERATORS})


@cache
def attribute_names() -> frozenset[str]:
    return frozenset(name for schema in onnx.defs.get_all_schemas() for name in schema.attributes)


def own(names: Iterable[str]) -> set[str]:
    """The rooms among imported names."""
    parts = [name.split(".") for name in names if name.startswith("onnxsurgeon.")]
    return {part[1] for part in parts if part[1] in ORDER}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_stands_before_it(path: Path) -> None:
    assert room(path) in ORDER, "a new room needs a place in the order"
    allowed = set(ORDER[: ORDER.index(room(path)) + 1])
    assert own(imports(path)) <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_heavy_package_is_imported_in_one_place(path: Path) -> None:
    for package, homes in HOMES.items():
        if any(name.split(".")[0] == package for name in imports(path)):
            assert room(path) in homes, package


def test_what_help_needs_is_light() -> None:
    """Nothing heavy is reached from the command line by imports at module level, but for what it imports late."""
    waiting, seen = ["onnxsurgeon.cli"], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for path in (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py"):
            if path.is_file():
                found = imports(path, top=True)
                assert not {other.split(".")[0] for other in found} & HEAVY, path
                waiting += [
                    ".".join(other.split(".")[:end]) for other in found for end in range(2, 2 + other.count("."))
                ]
                waiting += [other for other in found if other.startswith("onnxsurgeon.")]


def test_the_problem_knows_no_solver_and_the_solver_no_graph() -> None:
    assert own(imports(PACKAGE / "solver/problem.py")) <= {"arrays"}
    for path in (PACKAGE / "solver").glob("*.py"):
        assert own(imports(path)) <= {"errors", "arrays", "solver"}


def test_the_rooms_stand_on_few_levels() -> None:
    arrows = {(room(path), other) for path in FILES for other in own(imports(path)) if other != room(path)}
    level: dict[str, int] = {}
    for name in ORDER:
        level[name] = 1 + max((level[below] for above, below in arrows if above == name), default=0)
    assert max(level.values()) <= LEVELS
    assert len(arrows) <= ARROWS


def test_a_name_means_one_thing() -> None:
    """No two modules and no two classes share a name; a command's module is called as what it runs, and a room's
    options are always `options`."""
    modules = Counter(path.stem for path in FILES if path.stem not in ("__init__", "options") and room(path) != "cli")
    classes = Counter(node.name for path in FILES for node in parsed(path).body if isinstance(node, ast.ClassDef))
    for counted in (modules, classes):
        assert [name for name, count in counted.items() if count > 1] == []


def test_every_room_exists() -> None:
    assert {room(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_ops_tells_operators_apart(path: Path) -> None:
    """No other module knows one by its name; it may make a node of it."""
    if room(path) == "ops" or path.relative_to(PACKAGE).as_posix() in WORDS:
        return
    known = operator_names()
    calls = [node for node in walked(path) if isinstance(node, ast.Call)]
    made = {id(a) for c in calls if {getattr(c.func, key, None) for key in ("id", "attr")} & MAKERS for a in c.args}
    named = [node for node in walked(path) if isinstance(node, ast.Constant) and node.value in known]
    assert not [(node.lineno, node.value) for node in named if id(node) not in made]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_ops_names_attributes(path: Path) -> None:
    """Others ask an operator's record what its attributes mean, and let `ops.making` write those of new nodes."""
    known = attribute_names()
    calls = [node for node in walked(path) if isinstance(node, ast.Call)]
    written = {
        id(call.args[0])
        for call in calls
        if call.args and any(getattr(call.func, key, "").startswith(SETTERS) for key in ("id", "attr"))
    }
    texts = [node for node in walked(path) if isinstance(node, ast.Constant) and node.value in known]
    named = [(node.lineno, node.value) for node in texts if id(node) in written or node.value not in ENGLISH]
    assert room(path) in ("model", "ops") or path.parent.name == "pages" or not named  # those of HTML and charts


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_editor_changes_graphs(path: Path) -> None:
    """Only `model/editor.py` connects nodes, makes them, and adds inputs, outputs and weights."""
    changes = []
    for call in (node for node in walked(path) if isinstance(node, ast.Call)):
        does, of = getattr(call.func, "attr", ""), getattr(getattr(call.func, "value", None), "attr", "")
        if does in CHANGES or (of in CONNECTIONS and does in MUTATIONS):
            changes.append(call.lineno)
    for node in walked(path):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            held = getattr(target, "value", None)
            if getattr(target, "attr", "") == "const_value" or getattr(held, "attr", "") in CONNECTIONS:
                changes.append(node.lineno)
    assert room(path) == "model" or not changes


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_ops_knows_what_an_input_is(path: Path) -> None:
    """All that others may take for granted is that the first one holds the data: they ask the operator's record."""
    places = [n for n in walked(path) if isinstance(n, ast.Subscript) and getattr(n.value, "attr", "") == "inputs"]
    known = [n.lineno for n in places if isinstance(n.slice, ast.Constant) and n.slice.value != 0]
    assert room(path) == "ops" or not known


def test_every_family_of_operators_is_imported() -> None:
    """What is not would not be registered."""
    families = {p.stem for p in (PACKAGE / "ops").glob("*.py") if "\nadd(" in p.read_text(encoding="utf-8")}
    tree = imports(PACKAGE / "ops/__init__.py")
    assert families <= {name.rpartition(".")[2] for name in tree}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES
