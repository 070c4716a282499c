// One direction of a peering between two virtual networks.

@description('Name of the network in this resource group.')
param networkName string

@description('ARM ID of the other network.')
param otherNetworkId string

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' existing = {
  name: networkName
}

resource peering 'Microsoft.Network/virtualNetworks/virtualNetworkPeerings@2024-05-01' = {
  parent: network
  name: 'to-${last(split(otherNetworkId, '/'))}'
  properties: {
    remoteVirtualNetwork: { id: otherNetworkId }
    allowVirtualNetworkAccess: true
    allowForwardedTraffic: false
    allowGatewayTransit: false
    useRemoteGateways: false
  }
}
