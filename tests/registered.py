"""The functions of the app, as the worker indexes them. An app can be indexed only once."""

from __future__ import annotations

import json
import re

import function_app

FUNCTIONS = function_app.app.get_functions()


def http_functions() -> dict[str, tuple[set[str], str, bool]]:
    """Every HTTP function of the app: methods, path, and whether it is anonymous."""
    found = {}
    for function in FUNCTIONS:
        trigger = json.loads(json.dumps(function.get_trigger().get_dict_repr(), default=str))
        if trigger["type"] == "httpTrigger":
            methods = {re.sub(r".*\.", "", method) for method in trigger["methods"]}
            anonymous = "ANONYMOUS" in str(trigger["authLevel"])
            found[function.get_function_name()] = (methods, f"/{trigger['route']}", anonymous)
    return found
