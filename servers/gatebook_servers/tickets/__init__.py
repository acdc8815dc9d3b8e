"""Tickets: the desk as an MCP server."""
