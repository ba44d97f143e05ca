"""Laws: an option is typed once; what it is called, checked and told by follows from its record."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest

import onnxsurgeon as osg
from onnxsurgeon import metrics
from onnxsurgeon.compensation import compensations
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.importance import criteria
from onnxsurgeon.options.parsing import resolved
from onnxsurgeon.options.record import option_of, spelled
from onnxsurgeon.pruning.options import PruneOptions
from paths import FIXTURES


def test_signatures_and_help_show_every_option() -> None:
    for of in fields(PruneOptions):
        assert inspect.signature(osg.prune).parameters[of.name].default == of.default
        assert f"{of.name}: {option_of(of).help.removesuffix(' Repeatable.')}" in (osg.prune.__doc__ or "")
    with pytest.raises(TypeError, match="did you mean 'ratio'"):
        osg.prune(FIXTURES / "xor.onnx", raito=0.3)  # type: ignore[call-arg]


def test_human_units_are_taken_in_python_too() -> None:
    found = PruneOptions(ratio="30%", max_params="5M", max_size="18MB", memory="1GiB", min_keep="5%", only="conv*")
    assert (found.share, found.limits) == (0.3, {"params": 5e6, "size": 18e6})
    assert (found.memory, found.min_keep, found.only) == (2**30, 0.05, ("conv*",))
    assert PruneOptions(max_drop="2%", metric="top1", data="x.npz").max_drop == 0.02
    assert PruneOptions(**found.given()) == found, "what was read is read again as the same"
    assert found.report()["only"] == ["conv*"]
    for shape in ("input:1,2", ["input: 1, 2"], {"input": "1,2"}, {"input": (1, 2)}):
        assert PruneOptions(ratio=0.1, input_shape=shape).shapes == {"input": (1, 2)}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ratio": 1.5}, "`ratio` 1.5 is not valid"),
        ({"ratio": "much"}, "`ratio` 'much' is"),
        ({"ratio": 30}, 'did you mean 0.3, or "30%"'),
        ({"ratio": "30"}, 'did you mean 0.3, or "30%"'),
        ({"ratio": 300}, "change `ratio`"),
        ({"round_to": 0}, "`round_to` 0 is"),
        ({"max_params": "5MB"}, "`max_params` can't read '5MB'"),
        ({"max_macs": 0}, "`max_macs` 0 is"),
        ({"cost": "parms"}, "did you mean params"),
        ({"importance": "l2norm"}, "did you mean l2-norm"),
        ({"importance": "file:none.npz"}, "none.npz not found"),
        ({"data": "none", "importance": "wanda"}, "`importance=wanda` needs samples"),
        ({"compensate": "distilation"}, "did you mean distillation"),
        ({"data": "none", "compensate": "linear"}, "`compensate=linear` needs samples"),
        ({"metric": "top2", "data": "x.npz"}, "did you mean top"),
        ({"metric": "top1"}, "`metric` needs samples"),
        ({"metric": "accuracy", "data": "x.npz"}, "did you mean top1"),
        ({"data": "none", "stats": "none.npz"}, "`stats=none.npz` needs samples"),
        ({"cost": "flops"}, "did you mean macs"),
        ({"device": "gpu"}, "did you mean cuda"),
        ({"device": "tpu"}, "known: auto, cuda, cpu"),
        ({"exclude": 5}, "`exclude` 5 is not valid"),
        ({"only": ["conv1", 5]}, "`only` 5 is not"),
        ({"ratio": 0.1, "data": 5}, "`data` 5 is"),
        ({"stats": 5}, "`stats` 5 is not"),
        ({"importance": 5}, "`importance` '5' is not known"),
        ({"input_shape": {"input": 5}}, "'input:5' is not valid"),
        ({"input_shape": "1,2"}, "'1,2' is not valid"),
        ({"ratio": 0.1, "max_drop": 0.1, "data": "x.npz"}, "exclude each other"),
        ({}, "there is no goal"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused_before_any_work_and_names_the_parameter(given: dict[str, Any], words: str) -> None:
    stages: list[str] = []
    with pytest.raises(osg.UsageError, match=words):
        osg.prune(FIXTURES / "xor.onnx", progress=lambda stage, detail: stages.append(stage), **given)
    assert not stages


def test_the_shell_writes_options_its_own_way() -> None:
    assert spelled("`round_to` `external` `proof=False` `rotate=False`") == (
        "--round-to --save-as-external-data --no-proof --no-rotate"
    )
    assert spelled("`compensate=none`, an array `labels`") == "--compensate none, an array `labels`"


def test_every_record_names_a_function_that_is_there() -> None:
    tables = [criteria.CRITERIA, compensations.COMPENSATIONS, metrics.METRICS]
    for record in (record for table in tables for record in table.values()):  # type: ignore[attr-defined]
        assert not record.function or callable(resolved(record.function))
    for kind in COSTS.values():
        assert all(callable(resolved(place)) for place in (kind.terms, kind.measure, kind.rest) if place)
