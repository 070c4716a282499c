"""Names and versions of images."""

from __future__ import annotations

import pytest

from fleet.azure.arm_bodies import image_reference
from fleet.model.images import Image, common_version, is_latest, name_of, version_of, with_version

PRIVATE = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/a/images/versions"
)
URN: Image = {"publisher": "p", "offer": "o", "sku": "s", "version": "latest"}


@pytest.mark.parametrize(
    ("image", "resolved"),
    [
        (URN, "p:o:s:1.2.3"),
        ({"id": PRIVATE}, f"{PRIVATE}/versions/1.2.3"),
        ({"id": f"{PRIVATE}/versions/latest"}, f"{PRIVATE}/versions/1.2.3"),
        ({"id": "/communityGalleries/a/images/i"}, "/communityGalleries/a/images/i/versions/1.2.3"),
    ],
)
def test_latest_is_replaced_by_a_version(image: Image, resolved: str):
    exact = with_version(image, "1.2.3")
    assert (is_latest(image), is_latest(exact), version_of(exact)) == (True, False, "1.2.3")
    assert name_of(exact) == resolved


@pytest.mark.parametrize(
    ("image", "sent"),
    [
        (URN, URN),
        ({"id": f"{PRIVATE}/versions/1.2.3"}, {"id": f"{PRIVATE}/versions/1.2.3"}),
        ({"id": f"{PRIVATE}/versions/latest"}, {"id": PRIVATE}),
        ({"id": "/SharedGalleries/a/Images/i/Versions/1.2.3"},
         {"sharedGalleryImageId": "/SharedGalleries/a/Images/i/versions/1.2.3"}),
        ({"id": "/sharedGalleries/a/images/i"},
         {"sharedGalleryImageId": "/sharedGalleries/a/images/i/versions/latest"}),
        ({"id": "/communityGalleries/a/images/i/versions/1.2.3"},
         {"communityGalleryImageId": "/communityGalleries/a/images/i/versions/1.2.3"}),
    ],
)  # fmt: skip
def test_each_kind_of_image_has_its_member_on_the_wire(image: Image, sent: dict[str, str]):
    assert image_reference(image) == sent


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([["2.0.0", "1.0.0"]], "2.0.0"),
        ([["2.0.0", "1.0.0"], ["1.0.0"]], "1.0.0"),
        ([["1.0.0"], ["2.0.0", "1.0.0"]], "1.0.0"),
        ([["2.0.0"], ["1.0.0"]], "2.0.0"),
    ],
)
def test_all_regions_get_the_newest_version_that_they_have(listed: list[list[str]], expected: str):
    assert common_version(listed) == expected
