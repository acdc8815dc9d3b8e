"""What the outbox's jobs do, and how it is found out that one is due."""
