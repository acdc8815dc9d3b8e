"""The approval broker as an MCP server. No tool here decides; people do, elsewhere."""
