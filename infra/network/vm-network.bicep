// A region's virtual network for VMs, under the names by which the app finds it (fleet/model/names.py). VMs
// accept no connection, and leave through a NAT gateway.

@description('The region.')
param region string

@description('The network\'s number, which gives it an address space of its own: 10.{number}.0.0/16.')
@minValue(0)
@maxValue(199)
param number int

@description('Tags of all resources.')
param tags object

module outbound 'outbound.bicep' = {
  params: { location: region, tags: tags, suffix: region }
}

// As the app creates it: see arm_bodies.security_group.
resource securityGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: 'powerlift-nsg-${region}'
  location: region
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'DenyInbound'
        properties: {
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
          access: 'Deny'
          direction: 'Inbound'
          priority: 4096
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: 'powerlift-vnet-${region}'
  location: region
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.${number}.0.0/16'] }
    subnets: [
      {
        name: 'powerlift-subnet-${region}'
        properties: {
          addressPrefix: '10.${number}.0.0/17'
          defaultOutboundAccess: false
          natGateway: { id: outbound.outputs.gatewayId }
          networkSecurityGroup: { id: securityGroup.id }
        }
      }
    ]
  }
}

@description('ARM ID of the network.')
output networkId string = network.id

@description('The address from which VMs reach the internet.')
output outboundAddress string = outbound.outputs.publicAddress
