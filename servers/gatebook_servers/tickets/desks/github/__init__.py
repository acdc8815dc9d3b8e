"""GitHub's issues as a ticket desk, over its REST API of version 2026-03-10."""
