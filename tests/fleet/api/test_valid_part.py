"""What the deployment does not allow in a request that is invalid too."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.api import policy
from fleet.api.request import Fault, InvalidRequest, parse
from fleet.api.valid_part import ValidPart
from tests.fleet.api.test_policy import settings

BAD = "not an ARM ID"
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/other"
OLD = {"location": "mars"}
"""A region that the deployment does not allow."""


@pytest.mark.parametrize(
    ("request_", "reported"),
    [
        ({"resource_uris": [BAD, GROUP]}, ["/resource_uris/1"]),
        ({"resource_uris": [GROUP, BAD]}, ["/resource_uris/0"]),
        ({"resource_uris": [BAD, GROUP, BAD, GROUP + "2"]}, ["/resource_uris/1", "/resource_uris/3"]),
        ({"resource_uris": [BAD]}, []),
        ({"resource_uris": BAD}, []),
        ({"fallbacks": [{"vm_size": 1}, OLD]}, ["/fallbacks/1/location"]),
        ({"fallbacks": [{**OLD, "typo": 1}, OLD]}, ["/fallbacks/1/location"]),
        ({"a/b": 1, "location": "mars"}, ["/location"]),
        ({"n_instances": 0, "location": "mars"}, ["/location"]),
        ({"outbound": "existing", "location": "mars"}, ["/location"]),
        ({"azure_json": {"tenant_id": "", "subscription_id": "s"}, "location": "mars"}, ["/location"]),
        ([], []),
    ],
)  # fmt: skip
def test_items_and_fields_that_are_valid_are_checked(request_: Any, reported: list[str]):
    allowed = settings(FLEET_ALLOWED_REGIONS="eastus")
    document = request_ and {"experiment_id": 1, "n_instances": 1, "location": "eastus", **request_}
    with pytest.raises(InvalidRequest) as raised:
        parse(document)
    found = ValidPart.of(document, raised.value.faults)
    faults: list[Fault] = found[0].faults(policy.faults(found[1], allowed)) if found else []
    assert [fault["pointer"] for fault in faults] == reported
