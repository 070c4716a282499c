// The function app on Flex Consumption.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('Its name.')
@minLength(2)
@maxLength(60)
param name string

@description('ARM ID of the app\'s identity.')
param identityId string

@description('URL of the container with the app\'s code.')
param codeContainerUrl string

@description('App settings.')
param appSettings object

@description('ARM ID of the subnet for outbound traffic; empty: none.')
param subnetId string

@description('Instances of each group of functions, at most.')
param maximumInstances int

@description('Memory of an instance.')
param instanceMemoryMb int

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identityId}': {} } }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      runtime: { name: 'python', version: '3.12' }
      scaleAndConcurrency: { maximumInstanceCount: maximumInstances, instanceMemoryMB: instanceMemoryMb }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: codeContainerUrl
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
        }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
    }
  }

  resource settings 'config' = {
    name: 'appsettings'
    properties: appSettings
  }

  // Deployments authenticate with Entra, not with the publishing password.
  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }
}

@description('Its ARM ID.')
output id string = app.id

@description('Its URL.')
output url string = 'https://${app.properties.defaultHostName}'
