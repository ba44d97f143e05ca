"""How many channels each space keeps within the budgets: branch and bound, and local search."""
