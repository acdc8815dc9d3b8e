"""The run ledger as an MCP server."""
