"""What to write in place of parameters that other libraries have. Pure. Imported for the first name that is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUBSCRIBERS = "from anthropix_actors.subscribers"
_MESSAGES = 'messages=[{"role": "user", "content": "..."}]'
_FUNCTION = f"stream=to_function(function), which is called with each message, {_SUBSCRIBERS}"
_LISTENER = f"stream=YourListener.start(), of a class with that method and the base class Listener, {_SUBSCRIBERS}"
_LIMITS = "limits=Limits(requests=...)"
_AGENT = "client.converse(Agent({}=...))"
_IN_PARAMS = "params={'{}': ...}"
_NOTHING = "nothing for it: a key is of one organization"
_OWN_CERTIFICATE = "verify=context, an ssl.SSLContext with context.load_cert_chain(certfile, keyfile)"
_POOL = (
    "nothing for it: a client keeps up to 100 idle connections, each for 50 seconds; max_concurrency=... bounds chats"
)
_ENVIRONMENT = 'proxy="" and verify=certifi.where(), which leave the environment out; api_key=... and base_url=..., too'

_LISTENED = ("on_text", "on_thinking", "on_event", "on_block", "on_done", "on_failed", "on_cancelled", "on_answer")
_CALLED = ("callback", "callbacks", "on_message", "on_token", "on_chunk", "on_delta", "on_data", "handler", "function")
_PARAMS = ("temperature", "thinking", "beta", "tool_choice", "top_p", "top_k", "output_config", "max_retries")
_MOST_STEPS = ("max_steps", "max_turns", "max_iterations", "max_requests")
_SYSTEM = dict.fromkeys(("system_prompt", "instructions", "system_message"), "system=...")
_TOKENS = dict.fromkeys(("max_output_tokens", "max_completion_tokens", "max_new_tokens"), "max_tokens=...")
_RETRIES = dict.fromkeys(("retries", "num_retries"), "max_retries=...")
_TOOLS = dict.fromkeys(("functions", "tool"), "tools=[...]")
_FOLLOWED = {**dict.fromkeys(_LISTENED, _LISTENER), **dict.fromkeys(_CALLED, _FUNCTION)}

IN_A_CHAT = {
    **_SYSTEM,
    **_TOKENS,
    **_RETRIES,
    **_TOOLS,
    **_FOLLOWED,
    **dict.fromkeys(("subscriber", "listener", "queue"), f"stream=..., such as to_queue(queue), {_SUBSCRIBERS}"),
    **dict.fromkeys(("prompt", "question", "message", "text", "content", "input", "history"), _MESSAGES),
    **dict.fromkeys(("response_format", "response_model", "output_type", "schema"), "output=..., a type"),
    **dict.fromkeys(("effort", "reasoning_effort"), 'output_config={"effort": "..."}'),
    **dict.fromkeys(("api_key", "auth_token", "base_url"), "Client({}=...)"),
    "betas": "beta=...",
    "headers": "extra_headers=...",
    "agent": "client.converse(agent)",
}

IN_A_CLIENT = {
    **_RETRIES,
    **dict.fromkeys(("url", "host", "endpoint", "api_base"), "base_url=..."),
    **dict.fromkeys(("key", "apikey", "secret", "anthropic_api_key"), "api_key=..."),
    **dict.fromkeys(("token", "bearer", "access_token"), "api_key=..., or auth_token=... for a bearer token"),
    **dict.fromkeys(("model", "max_tokens", "system", "tools", "temperature", "messages"), "client.chat(..., {}=...)"),
    **dict.fromkeys(("organization", "organization_id", "org", "project"), _NOTHING),
    **dict.fromkeys(("default_headers", "extra_headers"), "headers=..."),
    **dict.fromkeys(("proxies", "http_proxy", "https_proxy"), "proxy=..."),
    **dict.fromkeys(("http_client", "transport", "session"), "proxy=..., verify=..., auth=... or timeout=..."),
    **dict.fromkeys(
        ("verify_ssl", "ssl_verify", "ca_bundle", "ca_certs", "cafile"), "verify=..., the path of a CA bundle"
    ),
    **dict.fromkeys(("cert", "certfile", "cert_file", "client_cert", "keyfile", "key_file"), _OWN_CERTIFICATE),
    **dict.fromkeys(("ssl_context", "ssl", "context", "tls"), "verify=..., which may be an ssl.SSLContext"),
    **dict.fromkeys(("keepalive_expiry", "max_keepalive_connections", "pool_connections", "pool_maxsize"), _POOL),
    "trust_env": _ENVIRONMENT,
    **dict.fromkeys(("concurrency", "max_connections", "max_workers"), "max_concurrency=..."),
    "betas": "beta=...",
    "version": "api_version=...",
    "workspace_id": "client.chat(..., workspace_id=...)",
}

IN_CONVERSE = {
    **_FOLLOWED,
    **dict.fromkeys(("model", "system", "tools", "limits", "max_tokens", "cache", "compact_at", "params"), _AGENT),
    **dict.fromkeys(("system_prompt", "instructions", "prompt"), _AGENT.replace("{}", "system")),
    **dict.fromkeys(_PARAMS, f"client.converse(Agent(..., {_IN_PARAMS}))"),
    **dict.fromkeys(_MOST_STEPS, f"client.converse(Agent(..., {_LIMITS}))"),
    **dict.fromkeys(("messages", "message_history"), "history=[...]"),
    **dict.fromkeys(("name", "session_id", "conversation_id"), "id=..., together with store=...; or tag=..."),
    "output": "talk.say(..., output=...)",
}

IN_AN_AGENT = {
    **_SYSTEM,
    **_TOKENS,
    **_TOOLS,
    **dict.fromkeys(_PARAMS, _IN_PARAMS),
    **dict.fromkeys((*_MOST_STEPS, "requests"), _LIMITS),
    **dict.fromkeys(("name", "description"), "agent.as_tool(name, description), for a sub-agent"),
    **dict.fromkeys(("output", "output_type", "response_format"), "talk.say(..., output=...)"),
    **dict.fromkeys(("agents", "handoffs", "sub_agents"), "tools=[agent.as_tool(name, description)]"),
    **dict.fromkeys(("history", "stream", "store"), "client.converse(agent, {}=...)"),
    "messages": "client.converse(agent, history=[...])",
    "prompt": "system=...",
    "client": "client.converse(agent)",
    "timeout": "limits=Limits(seconds=...), or params={'timeout': ...} for each request",
}

IN_LIMITS = {
    **dict.fromkeys(("steps", "max_steps", "max_turns", "turns", "max_requests", "iterations"), "requests=..."),
    **dict.fromkeys(("max_tokens", "total_tokens", "budget"), "tokens=...; of one answer, Agent(max_tokens=...)"),
    **dict.fromkeys(("timeout", "time", "max_seconds", "total"), "seconds=..."),
    **dict.fromkeys(("parallel", "concurrency", "max_tools", "tools"), "tools_at_once=..."),
}

IN_A_TIMEOUT = {
    **dict.fromkeys(("seconds", "timeout", "overall"), "total=..."),
    "write": "idle=..., which is for sending, too",
    "pool": "connect=...",
}

IN_A_PRICE = {
    **dict.fromkeys(("input_tokens", "prompt", "read"), "input=..."),
    **dict.fromkeys(("output_tokens", "completion", "write"), "output=..."),
    "cache_write": "cache_write_5m=..., or cache_write_1h=...",
}

IN_A_BATCH = {
    **dict.fromkeys(("stream", "listener", "queue"), f"subscriber=..., such as to_queue(queue), {_SUBSCRIBERS}"),
    "cancel": "cancel(), of the BatchRef that is returned",
    "lists": "as_lists=True",
}

INSTEAD: Mapping[str, Mapping[str, str]] = {
    "chat": IN_A_CHAT,
    "Client": IN_A_CLIENT,
    "converse": IN_CONVERSE,
    "Agent": IN_AN_AGENT,
    "Limits": IN_LIMITS,
    "Timeout": IN_A_TIMEOUT,
    "Price": IN_A_PRICE,
    "Batches.run": IN_A_BATCH,
    "Batches.follow": IN_A_BATCH,
}
"""By what has no such parameter, and by the parameter: what to write. `{}` in it is the parameter's name."""
