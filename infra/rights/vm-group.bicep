// The app's rights at the VMs' resource group.

@description('Object ID of the app\'s identity.')
param appPrincipalId string

@description('ID of the role that creates VMs.')
param provisionerRole string

@description('ID of the role that assigns roles.')
param assignerRole string

@description('Condition that limits which roles the app may assign here, and to whom.')
param condition string

resource appMayProvision 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, provisionerRole, appPrincipalId)
  properties: {
    roleDefinitionId: provisionerRole
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource appMayAssign 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, assignerRole, appPrincipalId)
  properties: {
    roleDefinitionId: assignerRole
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    condition: condition
    conditionVersion: '2.0'
  }
}
