"""The rules by which the API refuses a chat's parameters, each with its source."""

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.emulator.rules.rule import Rule
from anthropix_actors.emulator.rules.table import RULES, active, first_refusal, table

__all__ = ["RULES", "Rule", "active", "first_refusal", "table"]

publish(__name__, map(globals().get, __all__))
