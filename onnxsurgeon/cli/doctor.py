"""The command `doctor`: whether the install is whole."""

from __future__ import annotations

from onnxsurgeon.cli.options import Given, Spoken, with_options

EXAMPLES = ("onnxsurgeon doctor", "onnxsurgeon doctor --json")


@with_options(Spoken)
def doctor(given: Given) -> None:
    """Check the packages that onnxsurgeon needs, and whether models can run on the GPU; name what mends a fault.

    It ends with 2 if there is a fault. Without an NVIDIA driver, models run on the CPU: that is none.
    """
    spoken = given.of(Spoken)
    with spoken.answering("doctor") as answer:
        answer.save_to(spoken.report_to)
        from onnxsurgeon import install
        from onnxsurgeon.report import install_report

        found = install.faults()
        whole = not install.import_problem("onnxruntime")
        answer.found = install_report.diagnosed(found, whole=whole)
        if install.import_problem("rich"):
            raise found[0].error()
        answer.tables, answer.complete = install_report.tables, True
        if answer.found["faults"]:
            raise install.worst([install.Fault(**fault) for fault in answer.found["faults"]])
        answer.give()
