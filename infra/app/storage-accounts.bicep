// The storage accounts of a deployment: the task hub's, and the queues'.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('What the names end with.')
param token string

@description('Name of the queue that takes requests. Its poison queue is created beside it.')
param queue string

@description('Object ID of the app\'s identity.')
param appPrincipalId string

@description('Who may submit by queue.')
param senders { principalId: string, type: 'User' | 'Group' | 'ServicePrincipal' }[]

@description('Whether the accounts are reached through private endpoints only.')
param isPrivate bool

module hub 'storage.bicep' = {
  params: {
    location: location
    tags: tags
    name: 'hub${token}'
    containers: ['code']
    appPrincipalId: appPrincipalId
    appRoles: [
      'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner: the host's keys and leases, the code
      '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor: the task hub
      '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor: the task hub
    ]
    isPrivate: isPrivate
  }
}

module queues 'storage.bicep' = {
  params: {
    location: location
    tags: tags
    name: 'queue${token}'
    queues: [queue, '${queue}-poison']
    appPrincipalId: appPrincipalId
    appRoles: ['974c5e8b-45b9-4653-ba55-5f855dd0fb88'] // Storage Queue Data Contributor
    senders: senders
    isPrivate: isPrivate
  }
}

@description('ARM ID of the task hub\'s account.')
output hubId string = hub.outputs.id

@description('URL of the blobs of the task hub\'s account; ends with a slash.')
output blobUrl string = hub.outputs.blobUrl

@description('ARM ID of the queues\' account.')
output queuesId string = queues.outputs.id

@description('URL of the queues; ends with a slash.')
output queueUrl string = queues.outputs.queueUrl
