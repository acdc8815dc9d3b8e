"""The five MCP servers, the command and the reference agent."""
