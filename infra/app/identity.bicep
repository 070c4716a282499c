// A user-assigned identity.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('Its name.')
@minLength(3)
@maxLength(128)
param name string

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
  tags: tags
}

@description('Its ARM ID.')
output id string = identity.id

@description('Its client ID (application ID).')
output clientId string = identity.properties.clientId

@description('Its object ID.')
output principalId string = identity.properties.principalId
