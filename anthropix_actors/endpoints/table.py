"""Every endpoint of the API: the kind of its response, the kind of its pages, the betas that it needs.

The table is text that is parsed at its first use, so that importing the package does not pay for it.

Example:
    >>> found = find("GET", "/v1/sessions/sesn_1/events")
    >>> found.path, found.page, found.betas
    ('/v1/sessions/{session_id}/events', 'cursor', ('managed-agents-2026-04-01',))

Source: the official SDK 2.14.0, https://github.com/anthropics/anthropic-sdk-python, read 2026-11-26.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

import msgspec

from anthropix_actors._calls.pages import PageKind

if TYPE_CHECKING:
    from collections.abc import Iterator

Page: TypeAlias = PageKind
"""How the next page of a list is requested, see `anthropix_actors.pages`; None if there is only one response."""

Answer: TypeAlias = Literal["json", "sse", "jsonl", "binary"]
"""The kind of a response: one JSON value, server-sent events, a JSON value a line, or the bytes of a file."""

_METHODS = ("GET", "POST", "DELETE")


class Endpoint(msgspec.Struct, frozen=True):
    """One endpoint of the API.

    Attributes:
        method: "GET", "POST" or "DELETE"; the API updates with POST.
        path: Its path, as a template: `/v1/models/{model_id}`.
        name: The name of its operation, such as "list" or "create".
        page: How the pages of a list follow each other; None if there is only one response.
        answer: The kind of its response. `POST /v1/messages` has "json", and sends server-sent events if the body has
            `"stream": true`; only this endpoint leaves that to the body.
        betas: The values of the `anthropic-beta` header by default.
        beta_only: True if it is not generally available: it may change, even if it needs no header.
    """

    method: str
    path: str
    name: str
    page: Page | None
    answer: Answer
    betas: tuple[str, ...]
    beta_only: bool


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """Return all endpoints, sorted by path; those of one path as GET, POST, DELETE.

    Example:
        >>> [endpoint.name for endpoint in endpoints() if endpoint.path == "/v1/models"]
        ['list']
    """
    return tuple(sorted(_parsed(), key=lambda endpoint: (endpoint.path, _METHODS.index(endpoint.method))))


def find(method: str, path: str) -> Endpoint | None:
    """Return the endpoint that a request goes to, or None if there is none.

    Args:
        method: In upper or lower case.
        path: A template, whatever its parameters are called, or a path with values in it; with or without `/v1`.
            A literal segment precedes a parameter: `/messages/batches` is not a message called "batches".

    Example:
        >>> find("DELETE", "/files/{id}").name
        'delete'
        >>> find("PUT", "/files/{id}")
    """
    segments = path.removeprefix("/").removeprefix("v1/").split("/")
    if not all(segments):
        return None
    keys = ["{}" if segment[0] == "{" else segment for segment in segments]
    methods = _followed(_tree(), keys)
    return methods.get(method.upper())


def _followed(tree: dict[str, Any], keys: list[str]) -> dict[str, Endpoint]:
    """Return the endpoints at the end of a path through the tree, by method."""
    if not keys:
        return cast("dict[str, Endpoint]", tree.get("", {}))
    for key in (keys[0], "{}"):
        if key in tree and (found := _followed(tree[key], keys[1:])):
            return found
    return {}


@cache
def _tree() -> dict[str, Any]:
    """Return the paths as nested dicts, a level for each segment; parameters are "{}", and "" holds the endpoints."""
    root: dict[str, Any] = {}
    for endpoint in endpoints():
        node = root
        for segment in endpoint.path.removeprefix("/v1/").split("/"):
            node = node.setdefault("{}" if segment[0] == "{" else segment, {})
        node.setdefault("", {})[endpoint.method] = endpoint
    return root


def _parsed() -> Iterator[Endpoint]:
    pages, answers = get_args(Page), get_args(Answer)
    stage = ""
    betas: tuple[str, ...] = ()
    for line in _TABLE.strip().splitlines():
        path, *core = line.replace(",", "").split()
        if path[0] != "/":
            stage, betas = path, tuple(core)
            continue
        for method, call in zip(core[::2], core[1::2], strict=True):
            name, _, kind = call.partition(":")
            page = kind if kind in pages else None
            answer = kind if kind in answers else "json"
            yield Endpoint(
                method, f"/v1{path}", name, cast("Page | None", page), cast("Answer", answer), betas, stage == "beta"
            )


# A line without a path: the stage of the endpoints below it, and their `anthropic-beta`. Then: path, methods and names.
# Some GA endpoints are in the SDK's beta namespace as well, with a header there: it is not needed.
_TABLE = """
GA
/files                                                         GET list:cursor, POST upload
/files/{file_id}                                               GET retrieve_metadata, DELETE delete
/files/{file_id}/content                                       GET download:binary
/messages                                                      POST create
/messages/batches                                              GET list:id, POST create
/messages/batches/{message_batch_id}                           GET retrieve, DELETE delete
/messages/batches/{message_batch_id}/cancel                    POST cancel
/messages/batches/{message_batch_id}/results                   GET results:jsonl
/messages/count_tokens                                         POST count_tokens
/models                                                        GET list:id
/models/{model_id}                                             GET retrieve
/organizations/analytics/apps/chat/projects                    GET list:cursor
/organizations/analytics/artifacts                             GET list:cursor
/organizations/analytics/connectors                            GET list:cursor
/organizations/analytics/plugins                               GET list:cursor
/organizations/analytics/skills                                GET list:cursor
/organizations/analytics/summaries                             GET list:cursor
/organizations/analytics/users                                 GET list:cursor
/organizations/api_keys                                        GET list:id
/organizations/api_keys/{api_key_id}                           GET retrieve, POST update
/organizations/compliance_settings                             GET retrieve, POST update
/organizations/external_keys                                   GET list:cursor, POST create
/organizations/external_keys/{external_key_id}                 GET retrieve, POST update, DELETE delete
/organizations/external_keys/{external_key_id}/validate        POST validate
/organizations/federation_issuers                              GET list:cursor, POST create
/organizations/federation_issuers/{federation_issuer_id}       GET retrieve, POST update
/organizations/federation_issuers/{federation_issuer_id}/archive POST archive
/organizations/federation_rules                                GET list:cursor, POST create
/organizations/federation_rules/{federation_rule_id}           GET retrieve, POST update
/organizations/federation_rules/{federation_rule_id}/archive   POST archive
/organizations/federation_rules/{federation_rule_id}/workspaces GET list:cursor, POST add
/organizations/federation_rules/{federation_rule_id}/workspaces/{workspace_id} DELETE remove
/organizations/invites                                         GET list:id, POST create
/organizations/invites/{invite_id}                             GET retrieve, DELETE delete
/organizations/me                                              GET retrieve
/organizations/rate_limits                                     GET list:cursor
/organizations/rbac_groups                                     GET list:cursor, POST create
/organizations/rbac_groups/{rbac_group_id}                     GET retrieve, POST update, DELETE delete
/organizations/rbac_groups/{rbac_group_id}/members             GET list:cursor, POST add
/organizations/rbac_groups/{rbac_group_id}/members/{user_id}   DELETE remove
/organizations/rbac_roles                                      GET list:cursor
/organizations/rbac_roles/{rbac_role_id}                       GET retrieve
/organizations/rbac_roles/{rbac_role_id}/permissions           GET list:cursor
/organizations/service_accounts                                GET list:cursor, POST create
/organizations/service_accounts/{service_account_id}           GET retrieve, POST update
/organizations/service_accounts/{service_account_id}/archive   POST archive
/organizations/service_accounts/{service_account_id}/workspaces GET list:cursor, POST add
/organizations/service_accounts/{service_account_id}/workspaces/{workspace_id} DELETE remove
/organizations/spend_limit_increase_requests                   GET list:cursor
/organizations/spend_limit_increase_requests/{spend_limit_increase_request_id} GET retrieve
/organizations/spend_limit_increase_requests/{spend_limit_increase_request_id}/approve POST approve
/organizations/spend_limit_increase_requests/{spend_limit_increase_request_id}/deny POST deny
/organizations/spend_limits/effective                          GET list:cursor
/organizations/users                                           GET list:id
/organizations/users/{user_id}                                 GET retrieve, POST update, DELETE remove
/organizations/workspaces                                      GET list:id, POST create
/organizations/workspaces/{workspace_id}                       GET retrieve, POST update
/organizations/workspaces/{workspace_id}/archive               POST archive
/organizations/workspaces/{workspace_id}/members               GET list:id, POST add
/organizations/workspaces/{workspace_id}/members/{user_id}     GET retrieve, POST update, DELETE remove
/organizations/workspaces/{workspace_id}/rate_limits           GET list:cursor
/organizations/workspaces/{workspace_id}/rate_limits/{rate_limit_id} POST update
/organizations/workspaces/{workspace_id}/service_accounts      GET list:cursor, POST add
/organizations/workspaces/{workspace_id}/service_accounts/{service_account_id} GET retrieve, POST update, DELETE remove
/skills                                                        GET list:cursor, POST create
/skills/{skill_id}                                             GET retrieve, DELETE delete
/skills/{skill_id}/versions                                    GET list:cursor, POST create
/skills/{skill_id}/versions/{version}                          GET retrieve, DELETE delete
/user_profiles                                                 GET list:cursor, POST create
/user_profiles/{user_profile_id}                               GET retrieve, POST update, DELETE delete
/user_profiles/{user_profile_id}/action_urls                   POST create
beta
/compliance/review/cases                                       GET list:cursor
/compliance/review/cases/{case_id}                             GET retrieve
/compliance/review/cases/{case_id}/respond                     POST respond
/compliance/review/items/{item_id}                             GET retrieve
/compliance/review/notices                                     GET list:cursor
/organizations/analytics/cost_report                           GET list:report
/organizations/analytics/usage_report                          GET list:report
/organizations/analytics/user_cost_report                      GET list:report
/organizations/analytics/user_usage_report                     GET list:report
/organizations/spend_limits                                    POST set
/organizations/spend_limits/{spend_limit_id}                   GET retrieve, DELETE delete
/skills/{skill_id}/versions/{version}/content                  GET download:binary
beta admin-user-sign-out-2026-10-08
/organizations/users/{user_id}/sign_out                        POST sign_out
beta agent-memory-2026-07-22
/memory_stores                                                 GET list:cursor, POST create
/memory_stores/{memory_store_id}                               GET retrieve, POST update, DELETE delete
/memory_stores/{memory_store_id}/archive                       POST archive
/memory_stores/{memory_store_id}/memories                      GET list:cursor, POST create
/memory_stores/{memory_store_id}/memories/{memory_id}          GET retrieve, POST update, DELETE delete
/memory_stores/{memory_store_id}/memory_versions               GET list:cursor
/memory_stores/{memory_store_id}/memory_versions/{memory_version_id} GET retrieve
/memory_stores/{memory_store_id}/memory_versions/{memory_version_id}/redact POST redact
beta analytics-usage-cost-2026-08-24
/organizations/analytics/cost                                  GET list:report
/organizations/analytics/usage                                 GET list:report
beta ce-claude-code-managed-settings-2026-10-06
/organizations/claude_code/managed_settings/configuration      GET retrieve, POST update
/organizations/claude_code/managed_settings/rbac_group_default GET retrieve, POST update
/organizations/claude_code/managed_settings/rbac_groups        GET list:cursor
/organizations/claude_code/managed_settings/rbac_groups/{rbac_group_id} GET retrieve, POST set, DELETE delete
beta ce-plugins-2026-09-01
/organizations/plugin_marketplaces                             GET list:cursor
/organizations/plugin_marketplaces/validate_archive            POST validate_archive
/organizations/plugin_marketplaces/validate_repository         POST validate_repository
/organizations/plugin_marketplaces/{marketplace_id}            GET retrieve, POST update
/organizations/plugins                                         GET list:cursor, POST create
/organizations/plugins/{plugin_id}                             GET retrieve, POST update, DELETE delete
/organizations/plugins/{plugin_id}/installation_settings       GET list:cursor
/organizations/plugins/{plugin_id}/installation_settings/{target} POST set, DELETE remove
/organizations/plugins/{plugin_id}/shares                      GET list:cursor
/organizations/plugins/{plugin_id}/versions                    GET list:cursor, POST create
/organizations/plugins/{plugin_id}/versions/{version}          GET retrieve
/organizations/plugins/{plugin_id}/versions/{version}/content  GET download:binary
beta dreaming-2026-04-21
/dreams                                                        GET list:cursor, POST create
/dreams/{dream_id}                                             GET retrieve
/dreams/{dream_id}/archive                                     POST archive
/dreams/{dream_id}/cancel                                      POST cancel
beta efs-2026-10-01
/organizations/external_storage                                GET list:cursor, POST create
/organizations/external_storage/{external_storage_id}          GET retrieve, POST update, DELETE delete
/organizations/external_storage/{external_storage_id}/activate POST activate
beta experimental-claude-tag-2026-10-21
/organizations/claude_tag/bundles                              GET list:cursor
/organizations/claude_tag/bundles/{bundle_id}                  GET retrieve, POST update
/organizations/claude_tag/bundles/{bundle_id}/targets          GET list:cursor, POST create
/organizations/claude_tag/bundles/{bundle_id}/targets/{target_id} GET retrieve, DELETE delete
/organizations/claude_tag/slack_channels                       GET list:cursor, POST create
/organizations/claude_tag/slack_channels/{id}                  GET retrieve, POST update, DELETE delete
/organizations/claude_tag/slack_workspaces                     GET list:cursor
/organizations/claude_tag/slack_workspaces/{id}                GET retrieve, POST update
beta google-managed-data-controls-2026-09-01
/organizations/providers/google/projects/{project_number}/data_controls GET retrieve, POST update
beta managed-agents-2026-04-01
/agents                                                        GET list:cursor, POST create
/agents/{agent_id}                                             GET retrieve, POST update
/agents/{agent_id}/archive                                     POST archive
/agents/{agent_id}/versions                                    GET list:cursor
/deployment_runs                                               GET list:cursor
/deployment_runs/{deployment_run_id}                           GET retrieve
/deployments                                                   GET list:cursor, POST create
/deployments/{deployment_id}                                   GET retrieve, POST update
/deployments/{deployment_id}/archive                           POST archive
/deployments/{deployment_id}/pause                             POST pause
/deployments/{deployment_id}/run                               POST run
/deployments/{deployment_id}/unpause                           POST unpause
/environments                                                  GET list:cursor, POST create
/environments/{environment_id}                                 GET retrieve, POST update, DELETE delete
/environments/{environment_id}/archive                         POST archive
/environments/{environment_id}/work                            GET list:cursor
/environments/{environment_id}/work/poll                       GET poll
/environments/{environment_id}/work/stats                      GET stats
/environments/{environment_id}/work/{work_id}                  GET retrieve, POST update
/environments/{environment_id}/work/{work_id}/ack              POST ack
/environments/{environment_id}/work/{work_id}/heartbeat        POST heartbeat
/environments/{environment_id}/work/{work_id}/stop             POST stop
/sessions                                                      GET list:bidi, POST create
/sessions/{session_id}                                         GET retrieve, POST update, DELETE delete
/sessions/{session_id}/archive                                 POST archive
/sessions/{session_id}/events                                  GET list:cursor, POST send
/sessions/{session_id}/events/stream                           GET stream:sse
/sessions/{session_id}/resources                               GET list:cursor, POST add
/sessions/{session_id}/resources/{resource_id}                 GET retrieve, POST update, DELETE delete
/sessions/{session_id}/threads                                 GET list:cursor
/sessions/{session_id}/threads/{thread_id}                     GET retrieve
/sessions/{session_id}/threads/{thread_id}/archive             POST archive
/sessions/{session_id}/threads/{thread_id}/events              GET list:cursor
/sessions/{session_id}/threads/{thread_id}/stream              GET stream:sse
/vaults                                                        GET list:cursor, POST create
/vaults/{vault_id}                                             GET retrieve, POST update, DELETE delete
/vaults/{vault_id}/archive                                     POST archive
/vaults/{vault_id}/credentials                                 GET list:cursor, POST create
/vaults/{vault_id}/credentials/{credential_id}                 GET retrieve, POST update, DELETE delete
/vaults/{vault_id}/credentials/{credential_id}/archive         POST archive
/vaults/{vault_id}/credentials/{credential_id}/mcp_oauth_validate POST mcp_oauth_validate
beta mcp-tunnels-2026-06-22
/tunnels                                                       GET list:cursor, POST create
/tunnels/{tunnel_id}                                           GET retrieve
/tunnels/{tunnel_id}/archive                                   POST archive
/tunnels/{tunnel_id}/certificates                              GET list:cursor, POST create
/tunnels/{tunnel_id}/certificates/{certificate_id}             GET retrieve
/tunnels/{tunnel_id}/certificates/{certificate_id}/archive     POST archive
/tunnels/{tunnel_id}/reveal_token                              POST reveal_token
/tunnels/{tunnel_id}/rotate_token                              POST rotate_token
beta spend-limit-reads-2026-09-26
/organizations/spend_limits                                    GET list:cursor
beta telemetry-destinations-2026-08-11
/organizations/telemetry_destinations                          GET list:cursor, POST create
/organizations/telemetry_destinations/{destination_id}         GET retrieve, POST update, DELETE delete
/organizations/telemetry_destinations/{destination_id}/test    POST test
/organizations/telemetry_destinations/{destination_id}/workspaces GET list:cursor
/organizations/telemetry_destinations/{destination_id}/workspaces/{workspace_id} POST add, DELETE remove
beta user-profiles-2026-08-18
/user_profiles/{user_profile_id}/enrollment_url                POST create_enrollment_url
beta user-profiles-2026-09-04, google-managed-data-controls-2026-09-01
/user_profiles/{user_profile_id}/providers/google/data_controls GET retrieve, POST update
beta webhooks-2026-10-07
/organizations/webhooks                                        GET list:id, POST create
/organizations/webhooks/{webhook_endpoint_id}                  GET retrieve, POST update, DELETE delete
/organizations/webhooks/{webhook_endpoint_id}/regenerate_signing_secret POST regenerate_signing_secret
"""
