"""The one database: a port and its implementations."""
