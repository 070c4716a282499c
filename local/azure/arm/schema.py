"""The members of each resource type, as tables.

Taken from the published models of azure-mgmt-compute 39.0.0 (api-version 2026-04-01) and
azure-mgmt-network 33.1.0 (2026-03-01); `OBJECT` and `LIST` are not validated further. A name
that ends in "!" is required. A tuple of strings is an enumeration.
"""

from __future__ import annotations

from typing import Any

Schema = Any
"""A dict of members, a one-element list, a tuple of strings, or a Python type."""

Members = dict[str, Schema]

OBJECT, LIST = dict, list
_TAGS = {"*": str}


def _all(schema: Schema, names: str) -> Members:
    """Members with the same schema."""
    return dict.fromkeys(names.split(), schema)


_REFERENCE = {"id!": str}
_ID = {"id": str}

# A client may send these back after a GET; ARM ignores them.
_READ_ONLY = {**_all(str, "id name type etag"), "systemData": OBJECT}
_TRACKED = {**_READ_ONLY, "location!": str, "tags": _TAGS, "extendedLocation": OBJECT}

USER_ASSIGNED_IDENTITY = {**_TRACKED, "properties": OBJECT}

_DELETE_OPTION = ("Delete", "Detach")

_DISK = {
    **_all(str, "name storageFaultDomainAlignment"),
    **_all(OBJECT, "vhd image"),
    "caching": ("None", "ReadOnly", "ReadWrite"),
    "writeAcceleratorEnabled": bool,
    "createOption!": ("FromImage", "Empty", "Attach", "Copy", "Restore"),
    "diskSizeGB": int,
    "managedDisk": {
        **_all(str, "id storageAccountType"),
        "diskEncryptionSet": _ID,
        "securityProfile": OBJECT,
    },
    "deleteOption": _DELETE_OPTION,
}
_OS_DISK = {
    **_DISK,
    "osType": ("Linux", "Windows"),
    "encryptionSettings": OBJECT,
    "diffDiskSettings": {
        "option!": ("Local",),
        "placement": ("CacheDisk", "ResourceDisk", "NvmeDisk"),
        "enableFullCaching": bool,
    },
}
_DATA_DISK = {
    **_DISK,
    "lun!": int,
    "toBeDetached": bool,
    **_all(int, "diskIOPSReadWrite diskMBpsReadWrite"),
    "detachOption": str,
    "sourceResource": OBJECT,
}
_IMAGE = _all(
    str, "id publisher offer sku version exactVersion sharedGalleryImageId communityGalleryImageId"
)
_OS_PROFILE = {
    **_all(str, "computerName adminUsername adminPassword customData"),
    "windowsConfiguration": OBJECT,
    "linuxConfiguration": {
        **_all(bool, "disablePasswordAuthentication provisionVMAgent enableVMAgentPlatformUpdates"),
        "ssh": {"publicKeys": [_all(str, "path keyData")]},
        "patchSettings": OBJECT,
    },
    "secrets": LIST,
    **_all(bool, "allowExtensionOperations requireGuestProvisionSignal"),
}
_SECURITY_PROFILE = {
    "securityType": ("TrustedLaunch", "ConfidentialVM", "Standard"),
    "uefiSettings": _all(bool, "secureBootEnabled vTpmEnabled"),
    "encryptionAtHost": bool,
    **_all(OBJECT, "encryptionIdentity proxyAgentSettings"),
}
_NOTIFICATION = {"enable": bool, "notBeforeTimeout": str}

VIRTUAL_MACHINE: Schema = {
    **_TRACKED,
    **_all(OBJECT, "plan placement"),
    "resources": LIST,
    "zones": [str],
    "managedBy": str,
    "identity": {**_all(str, "type principalId tenantId"), "userAssignedIdentities": OBJECT},
    "properties!": {
        "hardwareProfile!": {"vmSize!": str, "vmSizeProperties": OBJECT},
        "storageProfile!": {
            "imageReference": _IMAGE,
            "osDisk!": _OS_DISK,
            "dataDisks": [_DATA_DISK],
            "diskControllerType": str,
            "alignRegionalDisksToVMZone": bool,
        },
        "osProfile": _OS_PROFILE,
        "networkProfile!": {
            "networkInterfaces": [
                {"id!": str, "properties": {"primary": bool, "deleteOption": _DELETE_OPTION}}
            ],
            "networkApiVersion": str,
            "networkInterfaceConfigurations": LIST,
        },
        "securityProfile": _SECURITY_PROFILE,
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": bool, "storageUri": str}},
        "priority": ("Regular", "Low", "Spot", "SpotPlus"),
        "evictionPolicy": ("Deallocate", "Delete"),
        "billingProfile": {"maxPrice": float},
        "scheduledEventsProfile": {
            "terminateNotificationProfile": _NOTIFICATION,
            "osImageNotificationProfile": _NOTIFICATION,
        },
        "additionalCapabilities": _all(
            bool, "ultraSSDEnabled hibernationEnabled enableFips1403Encryption"
        ),
        **_all(
            _ID, "availabilitySet virtualMachineScaleSet proximityPlacementGroup host hostGroup"
        ),
        "platformFaultDomain": int,
        **_all(str, "licenseType extensionsTimeBudget userData"),
        **_all(str, "provisioningState vmId timeCreated"),
        **_all(
            OBJECT,
            "capacityReservation applicationProfile flexProfile scheduledEventsPolicy "
            "interconnectBlockProfile resiliencyProfile instanceView",
        ),
    },
}

VIRTUAL_MACHINE_UPDATE: Schema = {"tags": _TAGS, "properties": OBJECT}

GALLERY: Schema = {
    **_TRACKED,
    "identity": OBJECT,
    "properties": {
        **_all(str, "description provisioningState"),
        "sharingProfile": {
            "permissions": ("Private", "Groups", "Community"),
            "communityGalleryInfo": OBJECT,
            "groups": LIST,
        },
        **_all(OBJECT, "identifier softDeletePolicy sharingStatus"),
    },
}
GALLERY_SHARING: Schema = {
    "operationType!": ("Add", "Remove", "Reset", "EnableCommunity"),
    "groups": [{"type": ("Subscriptions", "AADTenants"), "ids": [str]}],
}
GALLERY_IMAGE: Schema = {
    **_TRACKED,
    "properties!": {
        "osType!": ("Windows", "Linux"),
        "osState!": ("Generalized", "Specialized"),
        "hyperVGeneration": ("V1", "V2"),
        "architecture": ("x64", "Arm64"),
        "identifier!": _all(str, "publisher! offer! sku!"),
        "features": [_all(str, "name value startsAtVersion")],
        "purchasePlan": _all(str, "name publisher product"),
        **_all(OBJECT, "recommended disallowed"),
        **_all(str, "description eula privacyStatementUri releaseNoteUri endOfLifeDate"),
        "allowUpdateImage": bool,
        "provisioningState": str,
    },
}
GALLERY_VERSION: Schema = {
    **_TRACKED,
    "properties!": {
        "publishingProfile": {
            "targetRegions": [
                {
                    "name!": str,
                    "regionalReplicaCount": int,
                    "storageAccountType": str,
                    "excludeFromLatest": bool,
                    "encryption": OBJECT,
                }
            ],
            "replicaCount": int,
            "excludeFromLatest": bool,
            **_all(str, "publishedDate endOfLifeDate storageAccountType replicationMode"),
        },
        "storageProfile!": OBJECT,
        **_all(OBJECT, "safetyProfile securityProfile replicationStatus"),
        "provisioningState": str,
    },
}

_PUBLIC_IP_BODY = {
    "zones": [str],
    "sku": {"name": ("Basic", "Standard", "StandardV2"), "tier": str},
    "properties": {
        "publicIPAllocationMethod": ("Static", "Dynamic"),
        "publicIPAddressVersion": ("IPv4", "IPv6"),
        "deleteOption": _DELETE_OPTION,
        "idleTimeoutInMinutes": int,
        "ipTags": LIST,
        **_all(_ID, "publicIPPrefix natGateway"),
        **_all(str, "ipAddress resourceGuid provisioningState migrationPhase"),
        **_all(
            OBJECT,
            "dnsSettings ddosSettings ipConfiguration servicePublicIPAddress linkedPublicIPAddress",
        ),
    },
}
PUBLIC_IP: Schema = {**_TRACKED, **_PUBLIC_IP_BODY}

NAT_GATEWAY: Schema = {
    **_TRACKED,
    "zones": [str],
    "sku": {"name!": ("Standard", "StandardV2")},
    "properties": {
        **_all([_REFERENCE], "publicIpAddresses publicIpAddressesV6"),
        **_all([_REFERENCE], "publicIpPrefixes publicIpPrefixesV6"),
        "idleTimeoutInMinutes": int,
        "subnets": LIST,
        **_all(OBJECT, "sourceVirtualNetwork serviceGateway"),
        **_all(str, "resourceGuid provisioningState nat64"),
    },
}

_RULE = {
    **_READ_ONLY,
    "properties!": {
        "protocol!": ("Tcp", "Udp", "Icmp", "Esp", "Ah", "*"),
        "access!": ("Allow", "Deny"),
        "direction!": ("Inbound", "Outbound"),
        "priority!": int,
        **_all(str, "description provisioningState"),
        **_all(str, "sourcePortRange destinationPortRange"),
        **_all(str, "sourceAddressPrefix destinationAddressPrefix"),
        **_all([str], "sourcePortRanges destinationPortRanges"),
        **_all([str], "sourceAddressPrefixes destinationAddressPrefixes"),
        **_all(LIST, "sourceApplicationSecurityGroups destinationApplicationSecurityGroups"),
    },
}
NETWORK_SECURITY_GROUP: Schema = {
    **_TRACKED,
    "properties": {
        "securityRules": [_RULE],
        "flushConnection": bool,
        **_all(LIST, "defaultSecurityRules subnets networkInterfaces flowLogs"),
        **_all(str, "resourceGuid provisioningState"),
    },
}

SUBNET: Schema = {
    **_READ_ONLY,
    "properties!": {
        "addressPrefix": str,
        "addressPrefixes": [str],
        "defaultOutboundAccess": bool,
        **_all(_ID, "networkSecurityGroup routeTable natGateway serviceGateway"),
        **_all(str, "privateEndpointNetworkPolicies privateLinkServiceNetworkPolicies"),
        **_all(str, "sharingScope purpose provisioningState"),
        **_all(
            LIST,
            "serviceEndpoints serviceEndpointPolicies delegations ipAllocations privateEndpoints "
            "ipamPoolPrefixAllocations applicationGatewayIPConfigurations ipConfigurations "
            "ipConfigurationProfiles resourceNavigationLinks serviceAssociationLinks",
        ),
    },
}
VIRTUAL_NETWORK: Schema = {
    **_TRACKED,
    "properties!": {
        "addressSpace!": {"addressPrefixes!": [str], "ipamPoolPrefixAllocations": LIST},
        "subnets": [SUBNET],
        "dhcpOptions": {"dnsServers": [str]},
        **_all(bool, "enableDdosProtection enableVmProtection"),
        **_all(_ID, "ddosProtectionPlan defaultPublicNatGateway"),
        **_all(OBJECT, "bgpCommunities encryption"),
        **_all(LIST, "virtualNetworkPeerings ipAllocations flowLogs"),
        "flowTimeoutInMinutes": int,
        **_all(str, "privateEndpointVNetPolicies resourceGuid provisioningState"),
    },
}

_IP_CONFIGURATION = {
    **_READ_ONLY,
    "name!": str,
    "properties!": {
        "subnet": {**_ID, **_all(str, "name etag type"), "properties": OBJECT},
        "primary": bool,
        "privateIPAddress": str,
        "privateIPAllocationMethod": ("Dynamic", "Static"),
        "privateIPAddressVersion": ("IPv4", "IPv6"),
        "privateIPAddressPrefixLength": int,
        "publicIPAddress": {**_READ_ONLY, "location": str, "tags": _TAGS, **_PUBLIC_IP_BODY},
        "gatewayLoadBalancer": _ID,
        "privateLinkConnectionProperties": OBJECT,
        "provisioningState": str,
        **_all(
            LIST,
            "applicationSecurityGroups loadBalancerBackendAddressPools loadBalancerInboundNatRules "
            "applicationGatewayBackendAddressPools virtualNetworkTaps",
        ),
    },
}
NETWORK_INTERFACE: Schema = {
    **_TRACKED,
    "kind": str,
    "properties!": {
        "ipConfigurations!": [_IP_CONFIGURATION],
        "networkSecurityGroup": _ID,
        **_all(
            bool,
            "enableAcceleratedNetworking enableIPForwarding disableTcpStateTracking primary "
            "vnetEncryptionSupported defaultOutboundConnectivityEnabled allowPort25Out",
        ),
        **_all(str, "auxiliaryMode auxiliarySku nicType workloadType migrationPhase macAddress"),
        **_all(str, "resourceGuid provisioningState"),
        **_all(
            OBJECT,
            "dnsSettings privateLinkService virtualMachine privateEndpoint dscpConfiguration",
        ),
        **_all(LIST, "hostedWorkloads tapConfigurations"),
    },
}

ROLE_ASSIGNMENT: Schema = {
    **_READ_ONLY,
    "properties!": {
        "roleDefinitionId!": str,
        "principalId!": str,
        "principalType": ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device"),
        **_all(str, "description condition conditionVersion delegatedManagedIdentityResourceId"),
        **_all(str, "scope createdOn updatedOn createdBy updatedBy"),
    },
}
ROLE_DEFINITION: Schema = {
    **_READ_ONLY,
    "properties!": {
        "roleName!": str,
        **_all(str, "description type createdOn updatedOn createdBy updatedBy"),
        "permissions!": [_all([str], "actions notActions dataActions notDataActions")],
        "assignableScopes!": [str],
    },
}
RESOURCE_GROUP: Schema = {**_TRACKED, "managedBy": str, "properties": OBJECT}
