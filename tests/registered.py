"""The functions of the app, as the worker indexes them. An app can be asked for them once only."""

from __future__ import annotations

import function_app

FUNCTIONS = function_app.app.get_functions()
