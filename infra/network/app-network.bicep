// The app's virtual network: a subnet for its outbound traffic, and one for private endpoints. VMs, whose
// networks are peered with it, reach the database there and nothing else.

@description('The region.')
param location string

@description('Tags of all resources.')
param tags object

@description('Name of the network.')
param name string

@description('ARM IDs of the VMs\' networks, which resolve the database\'s name too.')
param vmNetworkIds string[]

var appRange = '10.200.0.0/26'
var endpointRange = '10.200.1.0/26'
var vmRange = '10.0.0.0/8'
var everything = { sourcePortRange: '*', destinationAddressPrefix: endpointRange, direction: 'Inbound' }
var zoneNames = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  vault: 'privatelink.vaultcore.azure.net'
  postgresqlServer: 'privatelink.postgres.database.azure.com'
}
var zoneKeys = objectKeys(zoneNames)

module outbound 'outbound.bicep' = {
  params: { location: location, tags: tags, suffix: name }
}

resource appSecurityGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${name}-app-nsg'
  location: location
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

resource endpointSecurityGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${name}-endpoints-nsg'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'AllowApp'
        properties: {
          ...everything
          protocol: 'Tcp'
          sourceAddressPrefix: appRange
          destinationPortRanges: ['443', '5432']
          access: 'Allow'
          priority: 100
        }
      }
      {
        name: 'AllowDatabaseFromVMs'
        properties: {
          ...everything
          protocol: 'Tcp'
          sourceAddressPrefix: vmRange
          destinationPortRange: '5432'
          access: 'Allow'
          priority: 110
        }
      }
      {
        name: 'DenyInbound'
        properties: {
          ...everything
          protocol: '*'
          sourceAddressPrefix: '*'
          destinationPortRange: '*'
          access: 'Deny'
          priority: 4096
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.200.0.0/23'] }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: appRange
          defaultOutboundAccess: false
          natGateway: { id: outbound.outputs.gatewayId }
          networkSecurityGroup: { id: appSecurityGroup.id }
          delegations: [
            { name: 'functions', properties: { serviceName: 'Microsoft.App/environments' } } // Flex Consumption's
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointRange
          defaultOutboundAccess: false
          networkSecurityGroup: { id: endpointSecurityGroup.id }
          privateEndpointNetworkPolicies: 'Enabled' // otherwise the security group does not apply to endpoints
        }
      }
    ]
  }

  resource appSubnet 'subnets' existing = {
    name: 'app'
  }

  resource endpointSubnet 'subnets' existing = {
    name: 'endpoints'
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for key in zoneKeys: {
    name: zoneNames[key]
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (key, index) in zoneKeys: {
    parent: zones[index]
    name: 'app'
    location: 'global'
    tags: tags
    properties: {
      virtualNetwork: { id: network.id }
      registrationEnabled: false
    }
  }
]

resource databaseZone 'Microsoft.Network/privateDnsZones@2024-06-01' existing = {
  name: zoneNames.postgresqlServer
  dependsOn: [zones]
}

resource vmLinks 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for vmNetworkId in vmNetworkIds: {
    parent: databaseZone
    name: last(split(vmNetworkId, '/'))
    location: 'global'
    tags: tags
    properties: {
      virtualNetwork: { id: vmNetworkId }
      registrationEnabled: false
    }
  }
]

@description('ARM ID of the network.')
output networkId string = network.id

@description('ARM ID of the subnet for the app\'s outbound traffic.')
output appSubnetId string = network::appSubnet.id

@description('ARM ID of the subnet for private endpoints.')
output endpointSubnetId string = network::endpointSubnet.id

@description('ARM IDs of the private DNS zones by group: blob, queue, table, vault, postgresqlServer.')
output zoneIds object = toObject(
  zoneKeys,
  key => key,
  key => resourceId('Microsoft.Network/privateDnsZones', zoneNames[key])
)
