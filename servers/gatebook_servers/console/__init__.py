"""The web console: where people see what waits for them, and decide. No agent can reach it."""
