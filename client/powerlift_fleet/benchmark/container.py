"""The arguments of Powerlift's AzureContainerInstance as those of a fleet of VMs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.benchmark.arguments import limit_or_none

CORES, MEMORY_GB = 4, 16
"""AzureContainerInstance's defaults."""

SIZES = tuple(
    (cores, cores * per_core, f"Standard_{series}{cores}s_v5")
    for cores in (2, 4, 8, 16, 32, 48, 64)
    for series, per_core in (("D", 4), ("E", 8))
)
"""Cores, GB of memory and VM size: without CPU credits, and offered in most regions."""

_NAMES = {
    "n_running_containers": "n_instances",
    "delete_group_container_on_complete": "delete_on_complete",
}
_DEFAULTS = {"n_instances": 1, "vm_size": "Standard_B16s_v2", "delete_on_complete": True}
"""AzureVMFleet's. An option that differs was passed."""


class ContainerArguments(TypedDict, total=False):
    """The arguments that AzureVMInstance does not have."""

    n_running_containers: int
    num_cores: float
    mem_size_gb: float
    image: str
    delete_group_container_on_complete: bool


def as_vm_arguments(container: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What replaces a fleet's options.

    Without `num_cores` or `mem_size_gb`, AzureContainerInstance's default applies. Raises
    ConfigurationError.
    """
    vm = {name for name, default in _DEFAULTS.items() if options[name] != default}
    if container.get("image") is not None:
        raise ConfigurationError(
            "A VM runs no container image. Omit image: VMs have Python and install shell_install, "
            "pip_install and wheel_filepaths. For another VM image, pass image_id, or "
            "image_publisher, image_offer, image_sku and image_version."
        )
    given = {_NAMES[name]: value for name, value in container.items() if name in _NAMES}
    if container and "vm_size" not in vm:
        given["vm_size"] = smallest_size(
            limit_or_none("num_cores", container.get("num_cores")) or CORES,
            limit_or_none("mem_size_gb", container.get("mem_size_gb")) or MEMORY_GB,
        )
    elif {"num_cores", "mem_size_gb"} & set(container):
        raise ConfigurationError("Pass vm_size, or num_cores and mem_size_gb, but not both.")
    for name in set(given) & vm:
        raise ConfigurationError(
            f"Pass {name}, or its name in AzureContainerInstance, but not both."
        )
    return given


def smallest_size(cores: float, memory_gb: float) -> str:
    """The smallest of SIZES with this many cores and GB of memory. Raises ConfigurationError."""
    for has_cores, has_memory, size in SIZES:
        if has_cores >= cores and has_memory >= memory_gb:
            return size
    raise ConfigurationError(
        f"No VM size is known with {cores:g} cores and {memory_gb:g} GB of memory. Pass vm_size, for "
        f"example {SIZES[-1][2]} ({SIZES[-1][0]} cores, {SIZES[-1][1]} GB)."
    )
