"""Whether the packages that this one needs are installed, new enough and whole; if not, the command that mends it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from typing import TYPE_CHECKING

from onnxsurgeon.errors import InstallError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

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
        return InstallError(self.what, why="\n".join((self.why, *more)), fix=self.fix)


@dataclass(frozen=True)
class Installed:
    """A package that this one needs. version: None if it is not installed. wanted: in words, like >=1.20."""

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
    """The packages that this one needs here. One of `RUNTIMES` stands for another that is not installed.

    Raises ImportError if `packaging` is missing, by which versions are read.
    """
    found = []
    for need in _requirements():
        name = need.name.lower()
        version = version_of(name)
        if version is None and name in RUNTIMES and (others := runtimes()):
            name, version = others[0], version_of(others[0])
        wanted = str(need.specifier)
        found.append(Installed(name, version, wanted, version is not None and need.specifier.contains(version, True)))
    return found


def _requirements() -> list[Requirement]:
    """What this package needs on this machine, without extras."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:  # it runs from its folder, and was never installed
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
    keep = next((need.name for need in _requirements() if need.name in names), names[0])
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
    """A fault for each package that is installed, but can't be imported."""
    for package in needed:
        if problem := import_problem(package.module):
            yield Fault(
                f"{package.name} is installed, but broken", problem,
                f"{pip('install')} --force-reinstall --no-deps {package.spec}",
            )  # fmt: skip


@cache
def import_problem(name: str) -> str:
    """Why a module can't be imported, in a line; empty if it can."""
    try:
        module = importlib.import_module(name)
    except Exception as problem:  # noqa: BLE001 - a broken package raises anything
        return f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    wanted = NEEDED.get(name)
    return "" if wanted is None or hasattr(module, wanted) else f"{name} has no {wanted}: its files are gone"


def pip(action: str) -> str:
    """The beginning of a command: pip, or uv where an environment has no pip."""
    if util.find_spec("pip") is None:
        return f"uv pip {action}"
    return f"pip {action}{' -y' * (action == 'uninstall')}"


def worst(found: Sequence[Fault]) -> InstallError:
    """The error about the first fault, which says how many there are."""
    more = [f"and {len(found) - 1} more: mend this first, and run onnxsurgeon doctor again"] * (len(found) > 1)
    return found[0].error(*more)


def blamed(problem: BaseException) -> InstallError | None:
    """The error if the install is broken, which may be why `problem` came up; None if it is whole."""
    found = faults()
    return found[0].error(f"{type(problem).__name__}: {problem}") if found else None
