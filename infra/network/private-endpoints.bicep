// The private endpoints of a deployment. The app itself keeps its public URL: its callers are elsewhere, and have keys.

@description('The region.')
param location string

@description('Tags of all resources.')
param tags object

@description('ARM ID of the task hub\'s storage account.')
param hubStorageId string

@description('ARM ID of the queues\' storage account.')
param queueStorageId string

@description('ARM ID of the key vault.')
param vaultId string

@description('ARM ID of the PostgreSQL server; empty: none.')
param databaseId string

@description('Whether there is a PostgreSQL server.')
param hasDatabase bool

@description('ARM ID of the subnet.')
param subnetId string

@description('ARM IDs of the private DNS zones by group.')
param zoneIds object

var services = concat(
  [
    { name: 'hub', id: hubStorageId, groups: ['blob', 'queue', 'table'] }
    { name: 'queue', id: queueStorageId, groups: ['queue'] }
    { name: 'vault', id: vaultId, groups: ['vault'] }
  ],
  hasDatabase ? [{ name: 'database', id: databaseId, groups: ['postgresqlServer'] }] : []
)

module endpoints 'private-endpoint.bicep' = [
  for service in services: {
    name: 'private-endpoint-${service.name}'
    params: {
      location: location
      tags: tags
      resourceId: service.id
      groups: service.groups
      subnetId: subnetId
      zoneIds: zoneIds
    }
  }
]
