// The rights of a deployment's app: custom roles, and where it has them. A role has exactly the
// actions that the app or a VM performs; tests/infra/test_rights.py compares them with what a fleet requests.
targetScope = 'subscription'

import { mayAssign } from 'conditions.bicep'

@description('Distinguishes the roles of the deployments in a tenant: names of roles are unique there.')
@minLength(3)
param suffix string

@description('Object ID of the app\'s identity.')
param appPrincipalId string

@description('Name of the VMs\' resource group.')
param vmGroupName string

@description('Object IDs of the principals to which requests may give Contributor at their VMs.')
param clientPrincipalIds string[]

@description('ARM IDs of the resources at which requests may give their VMs Contributor.')
param resourceScopes string[]

@description('ARM IDs of the subnets outside the VMs\' resource group that requests may choose.')
param subnetIds string[]

@description('ARM IDs of the galleries whose images requests may name.')
param galleryIds string[]

@description('Whether requests may also name images of shared or community galleries, which a region of the subscription shows.')
param readsSharedGalleries bool

var contributor = 'b24988ac-6180-42a0-ab88-20f7382dd24c'
var usesOtherSubnets = !empty(subnetIds)
var readSharedImages = [
  'Microsoft.Compute/locations/communityGalleries/images/read'
  'Microsoft.Compute/locations/communityGalleries/images/versions/read'
  'Microsoft.Compute/locations/sharedGalleries/images/read'
  'Microsoft.Compute/locations/sharedGalleries/images/versions/read'
]
var readSubnets = ['Microsoft.Network/virtualNetworks/read', 'Microsoft.Network/virtualNetworks/usages/read']

resource provisioner 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, suffix, 'provisioner')
  properties: {
    roleName: 'Powerlift Fleet provisioner (${suffix})'
    description: 'Creates and deletes the VMs of fleets in existing subnets.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Resources/subscriptions/resourceGroups/read'
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Compute/virtualMachines/write'
          'Microsoft.Compute/virtualMachines/delete'
          'Microsoft.Compute/virtualMachines/instanceView/read'
          'Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/action'
          'Microsoft.Compute/disks/read'
          'Microsoft.Compute/disks/write'
          'Microsoft.Compute/disks/delete'
          'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action'
          'Microsoft.Network/networkInterfaces/read'
          'Microsoft.Network/networkInterfaces/write'
          'Microsoft.Network/networkInterfaces/delete'
          'Microsoft.Network/networkInterfaces/join/action'
          'Microsoft.Network/virtualNetworks/read'
          'Microsoft.Network/virtualNetworks/usages/read'
          'Microsoft.Network/virtualNetworks/subnets/join/action'
        ]
      }
    ]
    assignableScopes: [subscription().id]
  }
}

resource assigner 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, suffix, 'assigner')
  properties: {
    roleName: 'Powerlift Fleet assigner (${suffix})'
    description: 'Assigns roles to VMs of fleets. A condition of each assignment limits which.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Authorization/roleAssignments/write'
          'Microsoft.Authorization/roleAssignments/delete'
        ]
      }
    ]
    assignableScopes: [subscription().id]
  }
}

resource vm 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, suffix, 'vm')
  properties: {
    roleName: 'Powerlift Fleet VM (${suffix})'
    description: 'Lets a VM of a fleet delete itself.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Compute/virtualMachines/delete'
        ]
      }
    ]
    assignableScopes: [subscription().id]
  }
}

resource joiner 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (usesOtherSubnets) {
  name: guid(subscription().id, suffix, 'joiner')
  properties: {
    roleName: 'Powerlift Fleet subnet (${suffix})'
    description: 'Attaches network interfaces of fleets to a subnet.'
    type: 'CustomRole'
    permissions: [
      {
        actions: ['Microsoft.Network/virtualNetworks/subnets/join/action']
      }
    ]
    assignableScopes: [subscription().id]
  }
}

resource imageReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (!empty(galleryIds)) {
  name: guid(subscription().id, suffix, 'images')
  properties: {
    roleName: 'Powerlift Fleet images (${suffix})'
    description: 'Reads the images of a gallery, from which VMs of fleets boot.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Compute/galleries/images/read'
          'Microsoft.Compute/galleries/images/versions/read'
        ]
      }
    ]
    assignableScopes: [subscription().id]
  }
}

resource planner 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, suffix, 'planner')
  properties: {
    roleName: 'Powerlift Fleet planner (${suffix})'
    description: 'Reads what a plan compares: quotas, sizes, images, permissions and role assignments.'
    type: 'CustomRole'
    permissions: [
      {
        actions: concat(
          [
            // With `*`: no list of Azure's operations names the read action of roleAssignmentsUsageMetrics.
            'Microsoft.Authorization/*/read'
            'Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read'
            'Microsoft.Compute/locations/usages/read'
            'Microsoft.Compute/skus/read'
          ],
          usesOtherSubnets ? readSubnets : [],
          readsSharedGalleries ? readSharedImages : []
        )
      }
    ]
    assignableScopes: [subscription().id]
  }
}

resource appMayPlan 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(planner.id, appPrincipalId)
  properties: {
    roleDefinitionId: planner.id
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    description: 'The app of Powerlift Fleet (${suffix}).'
  }
}

module vmGroup 'vm-group.bicep' = {
  scope: resourceGroup(vmGroupName)
  params: {
    appPrincipalId: appPrincipalId
    provisionerRole: provisioner.id
    assignerRole: assigner.id
    condition: mayAssign(concat(
      [{ role: vm.name }],
      empty(clientPrincipalIds) ? [] : [{ role: contributor, principalIds: clientPrincipalIds }]
    ))
  }
}

module scopes 'scope-rights.json' = [
  for (id, index) in resourceScopes: {
    name: 'scope-rights-${index}'
    scope: resourceGroup(split(id, '/')[4])
    params: {
      scope: id
      roleDefinitionId: assigner.id
      principalId: appPrincipalId
      condition: mayAssign([{ role: contributor }])
    }
  }
]

module subnets 'scope-rights.json' = [
  for (id, index) in subnetIds: {
    name: 'subnet-rights-${index}'
    scope: resourceGroup(split(id, '/')[4])
    params: {
      scope: id
      roleDefinitionId: joiner.id
      principalId: appPrincipalId
    }
  }
]

module galleries 'scope-rights.json' = [
  for (id, index) in galleryIds: {
    name: 'gallery-rights-${index}'
    scope: resourceGroup(split(id, '/')[4])
    params: {
      scope: id
      roleDefinitionId: imageReader.id
      principalId: appPrincipalId
    }
  }
]

@description('GUID of the role that a VM gets at itself: FLEET_VM_ROLE.')
output vmRole string = vm.name
