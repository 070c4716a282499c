// A PostgreSQL server without passwords: app, VMs and people log in with Entra tokens.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('Its name.')
@minLength(3)
@maxLength(63)
param name string

@description('The database\'s name.')
param databaseName string

@description('Size of the server.')
param size string

@description('Gigabytes of storage.')
param storageGb int

@description('Days for which backups are kept.')
param backupDays int

@description('The administrator, who creates the roles of app and VMs (infra/hooks/database.sh).')
param administrator { principalId: string, name: string, type: 'User' | 'Group' | 'ServicePrincipal' }

@description('IPv4 address from which the administrator connects; empty: none.')
param operatorAddress string

@description('Whether the server is reached through a private endpoint only.')
param isPrivate bool

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2024-08-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: size
    tier: startsWith(size, 'Standard_B')
      ? 'Burstable'
      : startsWith(size, 'Standard_E') ? 'MemoryOptimized' : 'GeneralPurpose'
  }
  properties: {
    version: '16'
    createMode: 'Default'
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: subscription().tenantId
    }
    storage: { storageSizeGB: storageGb, autoGrow: 'Enabled' }
    backup: { backupRetentionDays: backupDays, geoRedundantBackup: 'Disabled' }
    highAvailability: { mode: 'Disabled' }
    network: { publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled' }
  }
}

// The server allows one change at a time, so what follows is a chain.
resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2024-08-01' = {
  parent: server
  name: databaseName
  properties: { charset: 'UTF8', collation: 'en_US.utf8' }
}

resource firstAdministrator 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2024-08-01' = {
  parent: server
  name: administrator.principalId
  properties: {
    principalName: administrator.name
    principalType: administrator.type
    tenantId: subscription().tenantId
  }
  dependsOn: [database]
}

// Flex Consumption has no fixed outbound addresses without a network of its own.
resource fromAzure 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2024-08-01' = if (!isPrivate) {
  parent: server
  name: 'azure'
  properties: { startIpAddress: '0.0.0.0', endIpAddress: '0.0.0.0' }
  dependsOn: [firstAdministrator]
}

resource fromOperator 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2024-08-01' = if (!isPrivate && !empty(operatorAddress)) {
  parent: server
  name: 'operator'
  properties: { startIpAddress: operatorAddress, endIpAddress: operatorAddress }
  dependsOn: [fromAzure]
}

@description('Its ARM ID.')
output id string = server.id

@description('Its host name.')
output host string = server.properties.fullyQualifiedDomainName
