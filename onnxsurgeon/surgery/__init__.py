"""Changes of a graph's structure: nodes and edges come and go, and whatever must fit is resized first.

Each function takes a model and returns a new one; the given one stays as it was, whatever goes wrong.
"""

from __future__ import annotations
