"""The functions of the app, as the worker indexes them. An app can be indexed only once."""

from __future__ import annotations

import json
import re

import function_app

FUNCTIONS = function_app.app.get_functions()


def http_functions() -> dict[str, tuple[set[str], str, bool]]:
    """Every HTTP function of the app: methods, path, and whether it is anonymous.

    The path of the route that must be empty is `/`.
    """
    found = {}
    for function in FUNCTIONS:
        trigger = json.loads(json.dumps(function.get_trigger().get_dict_repr(), default=str))
        if trigger["type"] == "httpTrigger":
            methods = {re.sub(r".*\.", "", method) for method in trigger["methods"]}
            anonymous = "ANONYMOUS" in str(trigger["authLevel"])
            path = "/" + re.sub(r"^\{\w+:maxlength\(0\)\?\}$", "", trigger["route"])
            found[function.get_function_name()] = (methods, path, anonymous)
    return found
