"""A plan as anybody may see it: without the passwords in the configurations that it carries. Pure.

What is hidden is not needed to carry it out: whoever applies a plan makes it anew from the domain, which has to be what
it was, and compares the two as they are shown. Only the text of a file that the operator gave has to be read again.
"""

import base64
from typing import Any

import msgspec

from xensnap.engine.plan import Plan
from xensnap.formats import secret

_CONFIGURATIONS = frozenset({"configuration", "domain_config", "text", "use_config"})
"""What a step or a request calls the text of a configuration, or a record a configuration in JSON."""

_DOCUMENTS = frozenset({"record", "request"})
"""What is JSON in a text of its own."""

_HEADS = frozenset({"beginning"})
"""How a memory file begins, with the configuration of its guest in it."""

_OF_A_FILE = ("use_config", "configuration")


def without_secrets(plan: Plan) -> Plan:
    """The plan with `(not shown)` for every password."""
    whole = msgspec.to_builtins(plan)
    told = _told("", whole)
    return plan if told == whole else msgspec.convert(told, Plan)


def file_not_shown(plan: Plan) -> str:
    """The file that the operator gave, and of which the plan does not show all; empty where there is none."""
    asked = _json(plan.request)
    texts = [asked[name] for name in _OF_A_FILE if name in asked] if isinstance(asked, dict) else []
    return str(asked["config_file"]) if any(secret.HIDDEN in str(text) for text in texts) else ""


def with_file(plan: Plan, text: str) -> Plan:
    """The plan with the whole text of that file."""
    asked = _json(plan.request)
    asked |= {name: text for name in _OF_A_FILE if name in asked}
    return msgspec.structs.replace(plan, request=msgspec.json.encode(asked, order="deterministic").decode())


def _told(key: str, value: Any) -> Any:
    """A value of a plan under its name."""
    if isinstance(value, dict):
        as_settings = key in _CONFIGURATIONS
        return {name: (_setting if as_settings else _told)(name, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_told(key, each) for each in value]
    if not isinstance(value, str):
        return value
    if key in _CONFIGURATIONS:
        return "\n".join(map(secret.line_shown, value.split("\n")))
    if key in _DOCUMENTS:
        document = _json(value)
        told = _told("", document)
        return value if told == document else msgspec.json.encode(told, order="deterministic").decode()
    if key in _HEADS:
        return "" if secret.is_in(base64.b64decode(value).decode("utf-8", "replace")) else value
    return value


def _setting(key: str, value: Any) -> Any:
    """A setting of a configuration in JSON."""
    if isinstance(value, dict):
        return {name: _setting(name, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_setting(key, each) for each in value]
    return secret.shown(key, value) if isinstance(value, str) else value


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
