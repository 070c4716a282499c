"""The app contains nothing that the real Python worker rejects.

If it rejects one function, it loads none, so its rules are checked here, as they
were seen by running azure-functions-python-worker 4.34 on Python 3.11.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import types
import typing

import azure.durable_functions as df
import pytest
from typing_extensions import is_typeddict

import activities
import function_app
import orchestrators
import triggers
from tests.registered import FUNCTIONS

# HOST src/WebJobs.Script/Utility.cs: the host's own rule for names.
NAME = re.compile(r"^[a-z][a-z0-9_\-]{0,127}$", re.IGNORECASE)
ACTIVITIES = [f for f in FUNCTIONS if f.get_trigger().type == "activityTrigger"]
ORCHESTRATORS = [f for f in FUNCTIONS if f.get_trigger().type == "orchestrationTrigger"]
CLIENTS = [f for f in FUNCTIONS if any(b.type == "durableClient" for b in f.get_bindings())]


def name_of(function: typing.Any) -> str:
    return str(function.get_function_name())


def test_there_is_one_dfapp():
    found = [value for value in vars(function_app).values() if isinstance(value, df.DFApp)]
    assert found == [function_app.app]


def modules() -> list[types.ModuleType]:
    """Every module of the app's functions."""
    return [
        importlib.import_module(module.name)
        for package in (triggers, orchestrators, activities)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]


def test_only_function_app_has_a_dfapp():
    assert not [m for m in modules() if any(isinstance(v, df.DFApp) for v in vars(m).values())]


def test_every_blueprint_is_registered():
    declared = {
        builder._function._name
        for module in modules()
        for blueprint in [getattr(module, "bp", None)]
        if blueprint is not None
        for builder in blueprint._function_builders
    }
    assert declared == {name_of(function) for function in FUNCTIONS}


def test_names_are_legal_and_unique_ignoring_case():
    names = [name_of(function) for function in FUNCTIONS]
    assert all(NAME.match(name) for name in names)
    assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize("function", ORCHESTRATORS, ids=name_of)
def test_an_orchestrators_context_is_named_context(function: typing.Any):
    assert function.get_trigger().name == "context"


@pytest.mark.parametrize("function", ORCHESTRATORS, ids=name_of)
def test_an_orchestrator_is_a_generator(function: typing.Any):
    assert inspect.isgeneratorfunction(function.get_user_function().orchestrator_function)


@pytest.mark.parametrize("function", ACTIVITIES, ids=name_of)
def test_an_activitys_parameters_are_its_bindings(function: typing.Any):
    parameters = inspect.signature(function.get_user_function()).parameters
    assert set(parameters) == {binding.name for binding in function.get_bindings()}


@pytest.mark.parametrize("function", ACTIVITIES, ids=name_of)
def test_an_activitys_input_is_a_typed_dict(function: typing.Any):
    """The worker requires a class at runtime; it rejects `dict[str, Any]`."""
    hints = typing.get_type_hints(function.get_user_function())
    annotation = hints[function.get_trigger().name]
    assert isinstance(annotation, type)
    assert is_typeddict(annotation)


@pytest.mark.parametrize("function", ACTIVITIES, ids=name_of)
def test_an_activity_is_async(function: typing.Any):
    assert inspect.iscoroutinefunction(function.get_user_function())


@pytest.mark.parametrize("function", CLIENTS, ids=name_of)
def test_a_durable_client_function_is_async(function: typing.Any):
    assert inspect.iscoroutinefunction(function.get_user_function().client_function)


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_annotations_are_evaluable(function: typing.Any):
    user = function.get_user_function()
    user = getattr(user, "client_function", getattr(user, "orchestrator_function", user))
    assert typing.get_type_hints(user) is not None
