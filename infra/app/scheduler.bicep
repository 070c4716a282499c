// Durable Task Scheduler as the backend of Durable Functions, instead of the storage account. Unproven: the app
// has not run on it.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('Its name.')
@minLength(3)
@maxLength(64)
param name string

@description('Name of the task hub.')
param taskHub string

@description('The app\'s identity.')
param appIdentity { principalId: string, clientId: string }

var durableTaskDataContributor = '0ad04412-c4d5-4796-b79c-f76d14c8d402'

resource scheduler 'Microsoft.DurableTask/schedulers@2025-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: { name: 'Consumption' }
    ipAllowlist: ['0.0.0.0/0'] // an empty list denies everything; the role decides
  }
}

resource hub 'Microsoft.DurableTask/schedulers/taskHubs@2025-11-01' = {
  parent: scheduler
  name: taskHub
}

resource appMayUse 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(scheduler.id, durableTaskDataContributor, appIdentity.principalId)
  scope: scheduler
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', durableTaskDataContributor)
    principalId: appIdentity.principalId
    principalType: 'ServicePrincipal'
  }
}

@description('The app\'s settings. Those of the host override host.json.')
output appSettings object = {
  DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${scheduler.properties.endpoint};Authentication=ManagedIdentity;ClientID=${appIdentity.clientId}'
  AzureFunctionsJobHost__extensions__durableTask__storageProvider__type: 'azureManaged'
  AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName: 'DURABLE_TASK_SCHEDULER_CONNECTION_STRING'
}
