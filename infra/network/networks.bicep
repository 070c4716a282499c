// The networks of a deployment: one per region of VMs and, if it is isolated, one for the app, peered with them.
targetScope = 'subscription'

@description('Region of the app.')
param location string

@description('Tags of all resources.')
param tags object

@description('What the name of the app\'s network ends with.')
param suffix string

@description('Name of the app\'s resource group.')
param appGroupName string

@description('Name of the VMs\' resource group.')
param vmGroupName string

@description('Regions of VMs.')
@maxLength(20)
param vmRegions string[]

@description('Whether there is a network for the app.')
param isolated bool

module vms 'vm-network.bicep' = [
  for (region, index) in vmRegions: {
    name: 'vm-network-${region}'
    scope: resourceGroup(vmGroupName)
    params: { region: region, number: index, tags: tags }
  }
]

module app 'app-network.bicep' = if (isolated) {
  scope: resourceGroup(appGroupName)
  params: {
    location: location
    tags: tags
    name: 'vnet-${suffix}'
    vmNetworkIds: [for (region, index) in vmRegions: vms[index].outputs.networkId]
  }
}

module appPeerings 'peering.bicep' = [
  for (region, index) in vmRegions: if (isolated) {
    name: 'app-peering-${region}'
    scope: resourceGroup(appGroupName)
    params: { networkName: last(split(app!.outputs.networkId, '/')), otherNetworkId: vms[index].outputs.networkId }
  }
]

module vmPeerings 'peering.bicep' = [
  for (region, index) in vmRegions: if (isolated) {
    name: 'vm-peering-${region}'
    scope: resourceGroup(vmGroupName)
    params: { networkName: last(split(vms[index].outputs.networkId, '/')), otherNetworkId: app!.outputs.networkId }
  }
]

@description('ARM ID of the subnet for the app\'s outbound traffic; empty: none.')
output appSubnetId string = isolated ? app!.outputs.appSubnetId : ''

@description('ARM ID of the subnet for private endpoints; empty: none.')
output endpointSubnetId string = isolated ? app!.outputs.endpointSubnetId : ''

@description('ARM IDs of the private DNS zones by group of a private endpoint.')
output zoneIds object = isolated ? app!.outputs.zoneIds : {}
