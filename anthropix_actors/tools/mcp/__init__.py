"""Tools of MCP servers. `server.py` is light; what speaks the protocol, and needs the extra `mcp`, comes with its use."""
