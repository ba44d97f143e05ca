"""Search for architectures: candidates are mutated by edits, trained for a while and selected, again and again.

`mutation` says what a change of a network or of a candidate is. `candidate` is one of a population; `fitness` and
`pareto` say how good it is, `survival` who goes on. `partitions` chooses samples, `population` keeps all of it in a
folder.
"""
