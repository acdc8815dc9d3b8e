"""The run ledger: runs, steps, checkpoints, budgets."""
