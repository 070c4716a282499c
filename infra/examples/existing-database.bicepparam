// An existing database, whose URI is a secret. Users may choose a subnet and an image of a gallery, grant their VMs a storage account, and name
// a principal that gets Contributor at their VMs.
using '../main.bicep'

param environmentName = 'team'
param location = 'eastus'
param database = 'existing'
param operator = { principalId: '11111111-1111-1111-1111-111111111111', name: 'deployer', type: 'ServicePrincipal' }
param clientPrincipalIds = ['22222222-2222-2222-2222-222222222222']
param resourceScopes = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/results'
]
param subnetIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/network/providers/Microsoft.Network/virtualNetworks/hub/subnets/vms'
]
param galleryIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/images/providers/Microsoft.Compute/galleries/benchmarks'
]
param queueSenders = [{ principalId: '33333333-3333-3333-3333-333333333333', type: 'Group' }]
param settings = { FLEET_ALLOWED_SIZES: 'Standard_D*_v5', FLEET_PRICE_API: 'none' }
