"""Suggestions for unknown words: the nearest in meaning, else in spelling. They are not accepted as names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, zip_longest

# our word: the words of other tools
OPTIONS = {
    "--ratio": "percent percentage sparsity amount fraction rate reduction speedup target prune-ratio pruning-ratio",
    "--cost macs": "flops gflops mflops",
    "--cost": "budget objective",
    "--max-params": "params parameters num-params",
    "--max-macs": "macs max-flops",
    "--max-size": "size bytes filesize mb",
    "--max-drop": "threshold accuracy max-loss accuracy-drop acc-drop min-accuracy drop loss",
    "--metric": "score scoring eval measure",
    "--importance": "utility criterion criteria saliency importance-score strategy method norm",
    "--attention": "free attn heads head-size num-heads",
    "--round-to": "multiple multiple-of divisor granularity round channel-multiple align-to",
    "--min-keep": "keep-ratio min-ratio max-sparsity min-channels",
    "--exclude": "ignore skip keep protect freeze except ignored-layers",
    "--freeze": "frozen fixed fix",
    "--optimiser": "optimizer opt solver",
    "--lr": "learning-rate rate",
    "--epochs": "epoch passes num-epochs",
    "--loss": "criterion objective",
    "--weight-decay": "wd decay l2",
    "--ema": "average averaging",
    "--schedule": "scheduler lr-schedule",
    "--only": "layers layer include nodes select filter",
    "--data": "calibration calib dataset calibration-data images train-data input-data inputs",
    "--samples": "num-samples limit max-samples calibration-samples",
    "--batch": "batch-size bs",
    "--preprocess": "normalize normalise transform preprocessing mean std",
    "--output-name": "output-names output-node outputs",
    "--input-shape": "shape shapes input-shapes overwrite-input-shape dims dim dim-param",
    "--compensate": "finetune fine-tune train retrain distill correction bias-correction recover",
    "--mirror": "flip hflip augment augmentation",
    "--memory": "ram mem max-memory",
    "--stats": "cache statistics",
    "--output": "out output-file output-model dest destination save save-as to",
    "--output-dir": "out-dir outdir folder output-folder",
    "--overwrite": "force yes replace clobber inplace in-place",
    "--save-as-external-data": "external external-data",
    "--dry-run": "simulate plan preview pretend noop",
    "--no-proof": "no-verify no-check no-validate skip-check skip-proof unsafe",
    "--shapes-only": "no-run structure-only",
    "--atol": "tol tolerance eps absolute-tolerance",
    "--rtol": "relative-tolerance",
    "--device": "gpu cuda cpu provider providers ep execution-provider backend",
    "--jobs": "workers threads parallel processes num-workers",
    "--resume": "continue restart",
    "--time-limit": "timeout time max-time",
    "--threads": "num-threads intra-op",
    "--fail-if-slower": "max-slowdown",
    "--seed": "random-seed rng",
    "--against": "reference baseline teacher original",
    "--why": "explain reason node frozen",
    "--html": "plot chart graph page web browser",
    "--report": "json-file report-file summary",
    "--verbose": "debug trace",
    "--quiet": "silent",
    "--log-file": "log logfile",
    "--op": "operator op-type type layer-type",
    "--init": "fill value weights",
    "--kernel": "kernel-size size",
}
COMMANDS = {
    "compress": "iterate loop gradually",
    "prune": "shrink slim cut sparsify reduce optimize optimise simplify trim",
    "train": "fit finetune fine-tune retrain tune learn",
    "inspect": "info show summary describe list print analyse analyze explain view",
    "validate": "verify prove",
    "doctor": "diagnose health env environment",
    "demo": "example examples quickstart tutorial sample",
    "check": "gate assert ci require",
    "compare": "versus",
    "diff": "difference differences delta",
    "bench": "benchmark latency time speed perf",
    "evaluate": "eval score accuracy test measure",
    "sensitivity": "scan sweep",
    "report": "page html render",
    "search": "evolve evolution nas automl architecture",
    "profile": "latency-table lut device",
    "resize": "width widen grow narrow",
    "remove": "delete drop rm",
    "insert": "add append",
    "connect": "wire link join",
    "disconnect": "unlink unwire",
    "kernel": "kernel-size",
    "activation": "act",
    "replace": "swap substitute change",
    "splice": "graft paste merge embed",
    "extract": "subgraph sub-graph part slice",
    "fuse": "fold optimise-graph merge-bn constant-fold",
    "edit": "recipe apply run script",
}
# values that belong to another option
VALUES = {
    "--metric": {word: f"--cost {word}" for word in ("params", "macs", "size", "flops")},
    "--cost": {word: f"--metric {word}" for word in ("top1", "top5", "mse", "cosine", "psnr")},
}


def nearest(word: str, known: Iterable[str], others: Mapping[str, str]) -> str:
    """The word in `known` that is nearest to `word`, with a value if that is meant too; empty if none is near.

    others: the words of other tools, by ours.
    """
    from difflib import get_close_matches

    known = list(known)
    dashes = "--" if word.startswith("-") else ""
    meant = {name: name for name in known}
    for name, words in others.items():
        if name.split()[0] in known:
            meant = {dashes + other: name for other in words.split()} | meant
    started = [name for name in known if name.startswith(word) and len(word.strip("-")) > 1]
    close = [other for other in get_close_matches(word, meant, 3, 0.75) if _near(word, other)]
    close = [word] if word in meant else started[:1] or close
    return meant[close[0]] if close else ""


def _near(word: str, other: str) -> bool:
    """Whether each part of two words that are spelled alike is near: many options begin with the same part."""
    from difflib import SequenceMatcher

    parts = list(zip_longest(word.strip("-").split("-"), other.strip("-").split("-"), fillvalue=""))
    if not all(all(pair) for pair in parts):
        parts = [(word.replace("-", ""), other.replace("-", ""))]
    least = 0.5 if len(parts) > 1 else 0.75
    return all(a[0] == b[0] and SequenceMatcher(None, a, b).ratio() >= least for a, b in parts)


def misplaced(arguments: Sequence[str], known: Iterable[str]) -> tuple[str, str, str] | None:
    """An option, its value, and the option that was meant; None if no value belongs to another option."""
    known = set(known)
    for option, words in VALUES.items():
        values = [value for first, value in pairwise(arguments) if first == option]
        values += [text.partition("=")[2] for text in arguments if text.startswith(f"{option}=")]
        for value in values:
            meant = words.get(value, "")
            if meant and meant.split()[0] in known:
                return option, value, meant.replace("flops", "macs")
    return None
