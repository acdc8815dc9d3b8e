"""Approvals: a person's yes to one exact effect, the policy that asks for it, and holds."""
