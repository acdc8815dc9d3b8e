"""The reference agent: the night shift, an MCP client of the five servers and nothing more."""
