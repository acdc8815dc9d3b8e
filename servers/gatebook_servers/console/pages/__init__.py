"""The pages, by topic."""
