"""The errors of creating a VM, in Azure's own words: capacity, size, Spot, and the start of the OS."""

from __future__ import annotations

from local.azure.faults.error_template import ErrorTemplate

_TOO_CONSTRAINED = (
    "Allocation failed. VM(s) with the following constraints cannot be allocated, because the "
    "condition is too restrictive. Please remove some constraints and try again. Constraints applied "
    "are:\n"
)
_NO_CAPACITY = (
    "Read more about improving likelihood of allocation success at "
    "http://aka.ms/allocation-guidance"
)

VM_ERRORS = (
    # Capacity
    ErrorTemplate("SkuNotAvailable", 409,
        "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: "
        "$size' is currently not available in location '$location'. Please try another size or deploy "
        "to a different location or different zone. See https://aka.ms/azureskunotavailable for "
        "details."),
    ErrorTemplate("NotAvailableForSubscription", 409,
        "The requested VM size '$size' is not available for your subscription in location "
        "'$location'."),
    ErrorTemplate("AllocationFailed", 409,
        "Allocation failed. We do not have sufficient capacity for the requested VM size in this "
        f"region. {_NO_CAPACITY}"),
    ErrorTemplate("ZonalAllocationFailed", 409,
        "Allocation failed. We do not have sufficient capacity for the requested VM size in this "
        f"zone. {_NO_CAPACITY}"),
    ErrorTemplate("OverconstrainedAllocationRequest", 409,
        f"{_TOO_CONSTRAINED}  - Differencing (Ephemeral) Disks\n  - VM Size\n"),
    ErrorTemplate("OverconstrainedZonalAllocationRequest", 409,
        f"{_TOO_CONSTRAINED}  - Availability Zone\n  - VM Size\n"),
    # Spot (error-codes-spot.md)
    ErrorTemplate("SpotEvicted", 409, "The VM '$vm' was evicted."),
    ErrorTemplate("SpotPriceGreaterThanProvidedMaxPrice", 409,
        "Unable to perform operation 'Create VM' since the provided max price is lower than the "
        "current spot price for Azure Spot VM size '$size'. For more information, see "
        "https://aka.ms/AzureSpot/errormessages."),
    ErrorTemplate("MaxPriceValueInvalid", 400,
        "Invalid max price value. The only supported values for max price are -1 or a decimal greater "
        "than zero. Max price value of -1 indicates the Azure Spot VM should not be evicted for price "
        "reasons."),
    ErrorTemplate("EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines", 400,
        "Eviction policy can be set only on Azure Spot Virtual Machines."),
    ErrorTemplate("AzureSpotIsNotSupportedForThisVMSize", 400,
        "Azure Spot is not supported for this VM size $size."),
    ErrorTemplate("MaxPriceIsSupportedOnlyForAzureSpotVirtualMachines", 400,
        "Max price is supported only for Azure Spot Virtual Machines."),
    ErrorTemplate("ResourceTypeNotSupportAvailabilityZones", 400,  # capz#294
        "Resource type 'virtualMachines' does not support availability zones at location '$location'."),
    # Guest provisioning
    ErrorTemplate("OSProvisioningTimedOut", 409,
        "OS Provisioning for VM '$vm' did not finish in the allotted time. The VM may still finish "
        "provisioning successfully. Please check provisioning state later. Also, make sure the image "
        "has been properly prepared (generalized)."),
    ErrorTemplate("InternalExecutionError", 500, "An internal execution error occurred."),
    ErrorTemplate("VMExtensionProvisioningError", 409,
        "VM has reported a failure when processing extension 'extension'."),
    ErrorTemplate("VMAgentStatusCommunicationError", 409,
        "VM '$vm' has not reported status for VM agent or extensions. Verify that the OS is up and "
        "healthy, the VM has a running VM agent, and that it can establish outbound connections to "
        "Azure storage."),
    ErrorTemplate("VMStartTimedOut", 409,  # azure-cli#12751
        "VM '$vm' did not start in the allotted time. The VM may still start."),
    ErrorTemplate("OSProvisioningClientError", 409,  # capz#5657
        "OS provisioning for VM '$vm' failed. Error details: This installation of Linux is in an "
        "undeployable state."),
    ErrorTemplate("NetworkingInternalOperationError", 409,
        "An unexpected error occured while processing the network profile of the VM. Please retry "
        "later."),
)  # fmt: skip

# avm-res-compute#373, openshift/installer#9232, cloud-forensics-utils#488
NAMED_VM_ERRORS = {
    "PremiumDiskNotSupported": ErrorTemplate("InvalidParameter", 400,
        "Requested operation cannot be performed because the VM size $size does not support the storage "
        "account type $disk_type of disk '$disk'. Consider updating the VM to a size that "
        "supports Premium storage.", target="osDisk.managedDisk.storageAccountType"),
    "DiskControllerNotSupported": ErrorTemplate("InvalidParameter", 400,
        "The VM size '$size' cannot boot with OS image or disk. Please check that disk controller types "
        "supported by the OS image or disk is one of the supported disk controller types for the VM "
        "size '$size'. Please query sku api at https://aka.ms/azure-compute-skus to determine "
        "supported disk controller types for the VM size.", target="vmSize"),
    "GenerationNotSupported": ErrorTemplate("BadRequest", 400,
        "The selected VM size '$size' cannot boot Hypervisor Generation '$generation'. If this was a "
        "Create operation please check that the Hypervisor Generation of the Image matches the "
        "Hypervisor Generation of the selected VM Size. For more information, see "
        "https://aka.ms/azuregen2vm"),
    "ArchitectureNotSupported": ErrorTemplate("BadRequest", 400,
        "Cannot create a VM of size '$size' because this VM size only supports a CPU Architecture of "
        "'$supported', but an image or disk with CPU Architecture '$given' was given. Please check that "
        "the CPU Architecture of the image or disk is compatible with that of the VM size."),
}  # fmt: skip
