// A subnet's explicit way out: a NAT gateway with one public address.

@description('The region.')
param location string

@description('Tags of all resources.')
param tags object

@description('What the names end with.')
param suffix string

resource address 'Microsoft.Network/publicIPAddresses@2024-05-01' = {
  name: 'powerlift-ip-${suffix}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource gateway 'Microsoft.Network/natGateways@2024-05-01' = {
  name: 'powerlift-nat-${suffix}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    publicIpAddresses: [{ id: address.id }]
    idleTimeoutInMinutes: 10 // longer than the default, 4: a connection to a database may be idle for longer
  }
}

@description('ARM ID of the gateway.')
output gatewayId string = gateway.id

@description('The address from which the subnet reaches the internet.')
output publicAddress string = address.properties.ipAddress
