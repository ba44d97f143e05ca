"""Whether the packages that this one needs are installed, new enough and whole; if not, the command that mends it."""

from __future__ import annotations

import importlib
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from onnxsurgeon.errors import InstallError

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

PACKAGE = "onnxsurgeon"
# Distributions that all install the module onnxruntime: each overwrites the files of another
RUNTIMES = (
    "onnxruntime-gpu", "onnxruntime", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn",
    "onnxruntime-rocm", "onnxruntime-migraphx", "onnxruntime-training", "ort-nightly-gpu", "ort-nightly",
)  # fmt: skip
# What is imported of a distribution, where that is not its name
MODULES = {
    "pyyaml": "yaml",
    "protobuf": "google.protobuf",
    "onnx-ir": "onnx_ir",
    **dict.fromkeys(RUNTIMES, "onnxruntime"),
}
NEEDED = {"onnxruntime": "InferenceSession"}  # what a module must have: of an emptied folder Python makes a module, too


@dataclass(frozen=True)
class Fault:
    """What is wrong with the install, why (what was seen), and the command that mends it."""

    what: str
    why: str
    fix: str

    def error(self, *more: str) -> InstallError:
        """The fault as an error. more: lines for its reason."""
        return InstallError(self.what, why="\n".join(dict.fromkeys((self.why, *more))), fix=self.fix)


@dataclass(frozen=True)
class Installed:
    """A package that this one needs, itself or through another. version: None if it is not installed. wanted: in words,
    like >=1.20."""

    name: str
    version: str | None
    wanted: str
    new_enough: bool

    @property
    def module(self) -> str:
        return MODULES.get(self.name, self.name)

    @property
    def spec(self) -> str:
        """The package as pip takes it."""
        return f"'{self.name}{self.wanted}'" if self.wanted else self.name


def packages() -> list[Installed]:
    """The packages that this one needs here, and those that these need and that are missing.

    Raises ImportError if `packaging` is missing, by which versions are read.
    """
    own = _specifiers(_requirements(PACKAGE))
    missing = (package for package in everything() if package.version is None and package.name not in own)
    return [*(_installed(name, wanted) for name, wanted in own.items()), *missing]


def everything() -> list[Installed]:
    """The packages that this one needs here, and all that these need in turn. One of `RUNTIMES` stands for another that
    is not installed."""
    waiting, seen = [PACKAGE], set[str]()
    needs: list[Requirement] = []
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            needs += (new := _requirements(name))
            waiting += [_present(need.name) for need in new]
    return [_installed(name, wanted) for name, wanted in _specifiers(needs).items()]


def _installed(name: str, wanted: SpecifierSet) -> Installed:
    version = version_of(name)
    return Installed(name, version, str(wanted), version is not None and wanted.contains(version, True))


def _specifiers(needs: Sequence[Requirement]) -> dict[str, SpecifierSet]:
    """The versions that all of some requirements allow, by package."""
    found: dict[str, SpecifierSet] = {}
    for need in needs:
        name = _present(need.name)
        found[name] = found[name] & need.specifier if name in found else need.specifier
    return found


def _present(name: str) -> str:
    """The canonical name of a distribution; that of another runtime if one is installed in its place."""
    from packaging.utils import canonicalize_name

    name = canonicalize_name(name)
    return next(iter(runtimes()), name) if name in RUNTIMES and version_of(name) is None else name


def _requirements(package: str) -> list[Requirement]:
    """What a package needs on this machine, without extras; nothing if it is not installed."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(package) or []
    except metadata.PackageNotFoundError:  # ours may run from its folder
        lines = []
    needs = [Requirement(line) for line in lines]
    return [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def version_of(name: str) -> str | None:
    """The version of an installed distribution; None if there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def runtimes() -> list[str]:
    """The installed distributions of onnxruntime: one, if all is well."""
    return [name for name in RUNTIMES if version_of(name) is not None]


def faults() -> list[Fault]:
    """What is wrong with the packages of this install, the cause of most trouble first. Imports them all."""
    try:
        needed = packages()
    except ImportError as problem:
        return [Fault("the package packaging is missing", str(problem), f"{pip('install')} packaging")]
    found = [*several(), *_unfit(needed)]
    return found or [*_broken(needed)]


def several() -> list[Fault]:
    """The fault that onnxruntime is installed several times."""
    names = runtimes()
    if len(names) < 2:
        return []
    keep = next((need.name for need in _requirements(PACKAGE) if need.name in names), names[0])
    return [
        Fault(
            f"{' and '.join(names)} are installed together",
            "they write the same files: which of them works, if any, is a matter of which came last",
            f"{pip('uninstall')} {' '.join(names)} && {pip('install')} {keep}",
        )
    ]


def _unfit(needed: list[Installed]) -> Iterator[Fault]:
    """One fault for all packages that are missing or too old: one command mends them."""
    unfit = [package for package in needed if not package.new_enough]
    if unfit:
        yield Fault(
            f"packages are missing or too old: {', '.join(package.name for package in unfit)}",
            "\n".join(f"{package.name}: {package.version or 'none'}, needed: {package.wanted}" for package in unfit),
            f"{pip('install')} --upgrade {' '.join(package.spec for package in unfit)}",
        )


def _broken(needed: list[Installed]) -> Iterator[Fault]:
    """A fault for each package that is installed, but can't be imported: of the one that the import failed for."""
    found = dict[str, Fault]()
    for package in needed:
        if problem := import_problem(package.module):
            culprit = _culprit(import_error(package.module)) or package
            found.setdefault(culprit.name, _reinstalled(culprit, problem))
    yield from found.values()


def _reinstalled(package: Installed, why: str) -> Fault:
    """The fault that a package is there, but can't be used."""
    how = "--force-reinstall --no-deps" if package.new_enough else "--upgrade"
    return Fault(f"{package.name} is installed, but broken", why, f"{pip('install')} {how} {package.spec}")


def _culprit(problem: BaseException | None) -> Installed | None:
    """The package in which an import found something missing: it or one that it needs; None if that is not known."""
    while problem is not None:
        if isinstance(problem, ImportError) and problem.name:
            names = _distributions(problem.name)
            return next((package for package in everything() if package.name in names), None)
        problem = problem.__cause__ or problem.__context__
    return None


def _distributions(module: str) -> list[str]:
    """The packages that have a module, by their metadata, or may by their names."""
    from packaging.utils import canonicalize_name

    top = module.partition(".")[0]
    named = [name for name, own in MODULES.items() if own.partition(".")[0] == top]
    having = metadata.packages_distributions().get(top, [])
    return [*map(canonicalize_name, having), *named, canonicalize_name(top)]


@cache
def import_error(name: str) -> Exception | None:
    """What importing a module raises; None if nothing."""
    try:
        importlib.import_module(name)
    except Exception as problem:  # noqa: BLE001 - a broken package raises anything
        return problem
    return None


def import_problem(name: str) -> str:
    """Why a module can't be imported, in a line; empty if it can."""
    if problem := import_error(name):
        return said(problem)
    wanted = NEEDED.get(name)
    return "" if wanted is None or hasattr(sys.modules[name], wanted) else f"{name} has no {wanted}: its files are gone"


def said(problem: BaseException) -> str:
    """An exception in a line."""
    return f"{type(problem).__name__}: {' '.join(str(problem).split())}"


def pip(action: str) -> str:
    """The beginning of a command for the environment that runs: pip, or uv where it has no pip."""
    if util.find_spec("pip") is None:
        return f"uv pip {action} --python {shlex.quote(sys.executable)}"
    own = "pip" if _runs_here(shutil.which("pip")) else f"{shlex.quote(sys.executable)} -m pip"
    return f"{own} {action}{' -y' * (action == 'uninstall')}"


def _runs_here(script: str | None) -> bool:
    """Whether a script is run by the interpreter that runs now, by its first line."""
    with suppress(OSError, ValueError):
        first = Path(script or "").read_text(encoding="utf-8").partition("\n")[0]
        runs = first.removeprefix("#!").strip()
        here = Path(sys.executable)
        return Path(runs).parent.resolve() == here.parent.resolve() and here.samefile(runs)
    return False


def install_hint(extra: str) -> str:
    """The shell command that installs `extra` of this package, from its clone if it runs from one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        return f"{pip('install')} '{PACKAGE}[{extra}]'"
    return f"{pip('install')} -e '{'.' if root == Path.cwd() else root}[{extra}]'"


def worst(found: Sequence[Fault]) -> InstallError:
    """The error about the first fault, which says how many there are."""
    more = [f"and {len(found) - 1} more: mend this first, and run onnxsurgeon doctor again"] * (len(found) > 1)
    return found[0].error(*more)


def blamed(problem: BaseException) -> InstallError | None:
    """The error if the install is broken, which may be why `problem` came up; None if it is whole."""
    found = faults()
    if not found and (culprit := _culprit(problem)):
        found = [_reinstalled(culprit, said(problem))]
    return found[0].error(said(problem)) if found else None
