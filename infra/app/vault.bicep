// The key vault of the app's secrets. infra/hooks/secrets.sh writes them, through Azure Resource Manager: they pass
// through no template, and nobody needs to reach the vault itself.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('Its name.')
@minLength(3)
@maxLength(24)
param name string

@description('Object ID of the app\'s identity.')
param appPrincipalId string

@description('Whether the vault is reached through a private endpoint only.')
param isPrivate bool

@description('Whether a deleted vault cannot be purged before its retention ends. It cannot be turned off again, and then no vault of this name can be created for seven days after a removal.')
param purgeProtection bool

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: purgeProtection ? true : null // false is refused
    softDeleteRetentionInDays: 7
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

resource appMayRead 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, keyVaultSecretsUser, appPrincipalId)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

@description('Its ARM ID.')
output id string = vault.id

@description('Its URL, with a slash at its end.')
output url string = vault.properties.vaultUri
