// A storage account without keys, its containers and queues, and who may use it.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('Its name.')
@minLength(3)
@maxLength(24)
param name string

@description('Containers to create.')
param containers string[] = []

@description('Queues to create. The Functions host does not create the queue of a trigger.')
param queues string[] = []

@description('GUIDs of the roles that the app gets at the account.')
param appRoles string[]

@description('Object ID of the app\'s identity.')
param appPrincipalId string

@description('Who may add messages to the first queue: object IDs, with the type of each.')
param senders { principalId: string, type: 'User' | 'Group' | 'ServicePrincipal' }[] = []

@description('Whether the account is reached through private endpoints only.')
param isPrivate bool

var storageQueueDataMessageSender = 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'None'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = [
  for container in containers: {
    parent: blobs
    name: container
    properties: { publicAccess: 'None' }
  }
]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' = {
  parent: account
  name: 'default'
}

resource accountQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' = [
  for queue in queues: {
    parent: queueService
    name: queue
  }
]

resource appMayUse 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in appRoles: {
    name: guid(account.id, role, appPrincipalId)
    scope: account
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource maySend 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for sender in senders: if (!empty(queues)) {
    name: guid(account.id, storageQueueDataMessageSender, sender.principalId)
    scope: accountQueues[0]
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageQueueDataMessageSender)
      principalId: sender.principalId
      principalType: sender.type
    }
  }
]

@description('Its ARM ID.')
output id string = account.id

@description('URL of its blobs, with a slash at its end.')
output blobUrl string = account.properties.primaryEndpoints.blob

@description('URL of its queues, with a slash at its end.')
output queueUrl string = account.properties.primaryEndpoints.queue
