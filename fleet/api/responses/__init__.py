"""The types of the API's JSON responses, by resource. mypy checks the code against them.

The OpenAPI document is generated from them: the docstring under a member is its description there.
"""
