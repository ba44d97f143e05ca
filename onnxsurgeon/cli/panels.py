"""The panels of options in a command's help, in the order in which they are shown."""

from __future__ import annotations

REMOVE = "What to remove"
CHANGE = "What to change"
STAY = "What must stay"
SHOW = "What to show"
DATA = "Data"
OUTPUT = "Output"
PROOF = "Proof"
RUN = "Run"
PANELS = (REMOVE, CHANGE, SHOW, STAY, DATA, OUTPUT, PROOF, RUN)

PRUNE, LOOK, EDIT = "Prune", "Look", "Edit"  # of commands
