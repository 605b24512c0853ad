"""Tools of MCP servers. `server.py` is light; what needs the extra `mcp` is imported when it is used."""
