"""A broken install is named, with the command that mends it, whichever command meets it; it is no internal error."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from commands import Run, environment, module
from onnxsurgeon import install
from onnxsurgeon.errors import UsageError
from onnxsurgeon.install import Fault
from report_schema import require_schema

NEEDS = ("numpy>=1.26", "onnx>=1.19", "onnxruntime-gpu>=1.20", 'onnxruntime>=1.20; platform_system == "Nowhere"')
WHOLE = {"numpy": "2.4.0", "onnx": "1.20.0", "onnxruntime-gpu": "1.30.0"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the metadata say is installed, by name."""
    found = dict(WHOLE)

    def version(name: str) -> str:
        if name not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda name: NEEDS)
    monkeypatch.setattr(install, "pip", lambda action: f"pip {action}" + " -y" * (action == "uninstall"))
    install.import_error.cache_clear()
    return found


def test_a_whole_install_has_no_fault(installed: dict[str, str]) -> None:
    assert install.faults() == []


def test_any_runtime_will_do(installed: dict[str, str]) -> None:
    del installed["onnxruntime-gpu"]
    installed["onnxruntime"] = "1.30.0"
    assert install.faults() == []


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        (
            {"onnxruntime": "1.30.0"},
            "onnxruntime-gpu and onnxruntime are installed together",
            "pip uninstall -y onnxruntime-gpu onnxruntime && pip install onnxruntime-gpu",
        ),
        ({"onnx": "1.9.0"}, "missing or too old: onnx", "pip install --upgrade 'onnx>=1.19'"),
        (
            {"onnx": "1.9.0", "onnxruntime-gpu": None},
            "missing or too old: onnx, onnxruntime-gpu",
            "pip install --upgrade 'onnx>=1.19' 'onnxruntime-gpu>=1.20'",
        ),
    ],
)
def test_a_fault_is_named_with_the_command_that_mends_it(
    changes: dict[str, str | None], what: str, fix: str, installed: dict[str, str], run: Run
) -> None:
    for name, version in changes.items():
        installed.pop(name, None)
        installed |= {name: version} if version else {}
    result = run("doctor", "--json", code=2)
    report = json.loads(result.stdout)
    require_schema(report)
    assert what in report["what"]
    assert report["fix"] == fix
    assert report["faults"][0]["fix"] == fix
    assert result.stderr.splitlines()[-1] == f"fix: {fix}"


def test_a_package_whose_files_are_gone_is_installed_again(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """As pip leaves it behind when it uninstalls one of two distributions that wrote the same files."""
    monkeypatch.setattr(install, "NEEDED", {"onnxruntime": "NoSuchThing"})
    shown = run("doctor", code=2)
    assert "onnxruntime-gpu is installed, but broken" in shown.stderr
    assert shown.stderr.splitlines()[-1].endswith("--force-reinstall --no-deps 'onnxruntime-gpu>=1.20'")
    assert "onnxruntime-gpu" in shown.stdout


@pytest.mark.parametrize("error", [ImportError("no such file"), AttributeError("no such thing"), RuntimeError("odd")])
def test_any_command_that_meets_a_broken_install_says_so(
    error: Exception, installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module("inspection"), "inspect", fail)
    assert "internal error" in run("inspect", "net.onnx", code=1).stderr, "the install is whole: it is our fault"
    installed["onnx"] = "1.9.0"
    said = run("inspect", "net.onnx", code=2).stderr
    assert "internal" not in said
    assert f"{type(error).__name__}: {error}" in said
    assert said.splitlines()[-1] == "fix: pip install --upgrade 'onnx>=1.19'"


@pytest.mark.parametrize(("package", "named"), [("typer", ""), ("pydantic", ", name='pydantic'")])
def test_it_answers_even_where_the_command_line_cant_be_imported(package: str, named: str, tmp_path: Path) -> None:
    """Not even what the libraries that parse it import, now or when they are first used."""
    if package not in {needed.name for needed in install.everything()}:
        pytest.skip(f"typer does without {package}")
    (tmp_path / f"{package}.py").write_text(f"raise ImportError('half of it is gone'{named})\n")
    path = f"{tmp_path}:{environment()['PYTHONPATH']}"
    call = [sys.executable, "-m", "onnxsurgeon", "doctor"]
    done = subprocess.run(call, capture_output=True, text=True, env=environment(PYTHONPATH=path), check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[:2] == [
        f"error: {package} is installed, but broken", "  ImportError: half of it is gone"
    ]  # fmt: skip
    assert f"--force-reinstall --no-deps '{package}" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("version", [None, "0.4.0", "0.6.0"])
def test_what_a_package_needs_in_turn_is_mended_itself(
    version: str | None, installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """No installation of the package that needs it would bring it back."""
    needs = {install.PACKAGE: NEEDS, "onnx": ("ml_dtypes>=0.5",)}
    monkeypatch.setattr(metadata, "requires", lambda name: needs.get(name, ()))
    installed |= {"ml-dtypes": version} if version else {}
    problem = ModuleNotFoundError("No module named 'ml_dtypes'", name="ml_dtypes")
    monkeypatch.setattr(install, "import_error", lambda name: problem if name == "onnx" else None)
    said = run("doctor", code=2).stderr
    how = "--force-reinstall --no-deps" if version == "0.6.0" else "--upgrade"
    assert said.splitlines()[-1] == f"fix: pip install {how} 'ml-dtypes>=0.5'"
    assert said.count("No module named") == (version is not None)


def test_a_module_that_is_missing_elsewhere_is_no_fault_of_the_install() -> None:
    assert install.blamed(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
    assert install.blamed(ModuleNotFoundError("No module named 'rich.that'", name="rich.that")) is not None


def test_the_command_is_for_the_interpreter_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "pip"
    monkeypatch.setattr(install.shutil, "which", lambda name: str(script))
    monkeypatch.setattr(install.util, "find_spec", lambda name: True)
    assert install.pip("install") == f"{sys.executable} -m pip install", "no pip on PATH"
    script.write_text(f"#!{sys.executable}\n")
    assert install.pip("uninstall") == "pip uninstall -y"
    script.write_text("#!/usr/bin/another/python\n")
    assert install.pip("uninstall") == f"{sys.executable} -m pip uninstall -y"
    monkeypatch.setattr(install.util, "find_spec", lambda name: None)
    assert install.pip("install") == f"uv pip install --python {sys.executable}"


def test_an_install_hint_fits_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "pip", lambda action: f"pip {action}")
    monkeypatch.setattr(install, "__file__", str(tmp_path / "onnxsurgeon" / "install.py"))
    monkeypatch.chdir(tmp_path)
    assert install.install_hint("images") == "pip install 'onnxsurgeon[images]'"
    (tmp_path / "pyproject.toml").write_text("")
    assert install.install_hint("images") == "pip install -e '.[images]'"
    monkeypatch.chdir(tmp_path.parent)
    assert install.install_hint("images") == f"pip install -e '{tmp_path}[images]'"


# --- CUDA ---


def seen(driver: tuple[int, int] | None, built: int | None, *missing: str) -> list[Fault]:
    found: list[Fault] = module("runtime.cuda").Cuda(driver, built, missing).faults()
    return found


def test_what_keeps_models_from_the_gpu() -> None:
    assert seen(None, 13) == [], "no GPU"
    assert seen((13, 0), 13) == []
    assert seen((12, 1), 12) == [], "minor versions fit together"
    assert "too old for CUDA 13" in seen((12, 8), 13)[0].what
    assert "580" in seen((12, 8), 13)[0].fix
    assert "for CPUs alone" in seen((13, 0), None)[0].what
    assert "onnxruntime-gpu[cuda,cudnn]" in seen((13, 0), None)[0].fix
    missing = seen((13, 0), 13, "libcudnn.so.9: cannot open shared object file")[0]
    assert "libcudnn.so.9" in missing.why
    assert "[cuda]" in missing.fix


def test_a_missing_library_is_named() -> None:
    found = list(module("runtime.cuda")._missing(13))
    assert all("cannot open" in line for line in found)


@pytest.mark.parametrize("driver", [None, (12, 8)])
def test_asking_for_cuda_says_why_there_is_none(
    driver: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    cuda = module("runtime.cuda")
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    error = cuda.refusal()
    assert isinstance(error, UsageError)
    assert ("no NVIDIA driver" if driver is None else "CUDA") in error.why


def test_doctor_shows_faults_of_cuda(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(module("runtime.cuda"), "_driver", lambda: (1, 0))
    said = run("doctor", code=2)
    assert "error: " in said.stderr
    assert "the driver runs CUDA 1.0" in said.stdout
