// Private endpoints of one resource, one per group.

@description('The region.')
param location string

@description('Tags of all resources.')
param tags object

@description('ARM ID of the resource.')
param resourceId string

@description('Its groups: blob, queue and table of a storage account, vault, postgresqlServer.')
param groups string[]

@description('ARM ID of the subnet.')
param subnetId string

@description('ARM IDs of the private DNS zones by group.')
param zoneIds object

var name = last(split(resourceId, '/'))

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for group in groups: {
    name: '${name}-${group}'
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      privateLinkServiceConnections: [
        {
          name: group
          properties: {
            privateLinkServiceId: resourceId
            groupIds: [group]
          }
        }
      ]
    }
  }
]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (group, index) in groups: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: group
          properties: { privateDnsZoneId: zoneIds[group] }
        }
      ]
    }
  }
]
