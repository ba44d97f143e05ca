"""Which neurons stay, under budgets: integer programs and local search."""
