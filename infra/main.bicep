// A deployment of Powerlift Fleet: the app in one resource group, its VMs in another. docs/deploying.md.
targetScope = 'subscription'

@description('Name of the deployment: names of resource groups and roles contain it.')
@minLength(2)
@maxLength(40)
param environmentName string

@description('Region of the app.')
@minLength(1)
param location string

@description('Regions in which VMs may run. Each gets a virtual network with a NAT gateway. Do not reorder them: a network\'s addresses follow its position.')
@minLength(1)
@maxLength(20)
param vmRegions string[] = [location]

@description('Whether storage, vault and database have private endpoints instead of public ones. The Durable Task Scheduler has a public one only.')
param networkIsolation bool = false

@description('new: a PostgreSQL server without passwords. existing: the URI in the secret database-uri of the key vault.')
@allowed(['new', 'existing'])
param database string = 'new'

@description('Size of a new PostgreSQL server.')
param databaseSize string = 'Standard_B1ms'

@description('Storage of a new PostgreSQL server, in gigabytes. It grows by itself.')
@allowed([32, 64, 128, 256, 512, 1024])
param databaseStorageGb int = 32

@description('Days for which backups of a new PostgreSQL server are kept.')
@minValue(7)
@maxValue(35)
param databaseBackupDays int = 14

@description('Who deploys, and administers a new PostgreSQL server: object ID, name (of a user: the user principal name) and type.')
param operator { principalId: string, name: string, type: 'User' | 'Group' | 'ServicePrincipal' }

@description('IPv4 address from which the operator connects to a new PostgreSQL server; empty: none.')
@maxLength(15)
param operatorAddress string = ''

@description('Where Durable Functions keeps its state. DurableTaskScheduler is unproven.')
@allowed(['AzureStorage', 'DurableTaskScheduler'])
param durableBackend string = 'AzureStorage'

@description('Object IDs that requests may name as client_principal_id: they get Contributor at VMs.')
@maxLength(20)
param clientPrincipalIds string[] = []

@description('ARM IDs of data services of this subscription at which requests may give VMs Contributor (resource_uris).')
@maxLength(20)
param resourceScopes string[] = []

@description('ARM IDs of subnets of this subscription that requests may choose (subnet_id) beside those of the VMs\' resource group.')
@maxLength(20)
param subnetIds string[] = []

@description('Compute Galleries whose images requests may name (image_id): ARM IDs in this subscription, /sharedGalleries/NAME or /communityGalleries/NAME.')
@maxLength(20)
param galleryIds string[] = []

@description('Who may submit by queue: object IDs, with the type of each.')
param queueSenders { principalId: string, type: 'User' | 'Group' | 'ServicePrincipal' }[] = []

@description('VMs of all fleets at once (FLEET_MAX_VMS).')
@minValue(1)
@maxValue(5000)
param maxVms int = 100

@description('Days for which a fleet may run, at most (FLEET_MAX_LIFETIME_DAYS).')
@minValue(1)
@maxValue(31)
param maxLifetimeDays int = 7

@description('US dollars per fleet (FLEET_MAX_COST); 0: no limit.')
@minValue(0)
param maxCost int = 0

@description('US dollars of all fleets per calendar month (FLEET_BUDGET, and a budget of the VMs\' resource group); 0: no limit.')
@minValue(0)
param monthlyBudget int = 0

@description('Month in which the budget of the resource group starts (yyyy-MM-01).')
param budgetStart string = utcNow('yyyy-MM-01')

@description('Addresses that get alerts.')
@maxLength(10)
param alertEmails string[] = []

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Gigabytes of logs per day, beyond which they are dropped; -1: no limit.')
@minValue(-1)
param logDailyCapGb int = 1

@description('Whether notifications are signed, with the secret webhook-secret of the key vault.')
param signNotifications bool = false

@description('Whether a deleted key vault cannot be purged before its retention ends.')
param purgeProtection bool = false

@description('Instances of each group of functions, at most.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 40

@description('Memory of an instance, in megabytes.')
@allowed([512, 2048, 4096])
param instanceMemoryMb int = 2048

@description('Further app settings by name (docs/settings.md). They take precedence. No secrets: the history of deployments shows them. Pass a key vault reference instead.')
param settings object = {}

@description('Tags of all resources.')
param tags object = {}

var taskHub = 'PowerliftFleet'
var queue = 'powerlift-fleets'
var token = uniqueString(subscription().id, environmentName, location)
var suffix = '${environmentName}-${token}'
var allTags = union(tags, { 'azd-env-name': environmentName })
var appIdentityName = 'powerlift-fleet-${token}'
var vmIdentityName = 'powerlift-vms-${token}'
var makesDatabase = database == 'new'

resource appGroup 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: allTags
}

resource vmGroup 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${environmentName}-vms'
  location: location
  tags: allTags
}

module appIdentity 'app/identity.bicep' = {
  scope: appGroup
  params: { location: location, tags: allTags, name: appIdentityName }
}

module vmIdentity 'app/identity.bicep' = {
  scope: vmGroup
  params: { location: location, tags: allTags, name: vmIdentityName }
}

module rights 'rights/rights.bicep' = {
  params: {
    suffix: suffix
    appPrincipalId: appIdentity.outputs.principalId
    vmGroupName: vmGroup.name
    clientPrincipalIds: clientPrincipalIds
    resourceScopes: resourceScopes
    subnetIds: subnetIds
    galleryIds: filter(galleryIds, id => startsWith(toLower(id), '/subscriptions/'))
    readsSharedGalleries: !empty(filter(galleryIds, id => !startsWith(toLower(id), '/subscriptions/')))
  }
}

module networks 'network/networks.bicep' = {
  params: {
    location: location
    tags: allTags
    suffix: suffix
    appGroupName: appGroup.name
    vmGroupName: vmGroup.name
    vmRegions: vmRegions
    isolated: networkIsolation
  }
}

// Storage, secrets, database, monitoring

module storage 'app/storage-accounts.bicep' = {
  scope: appGroup
  params: {
    location: location
    tags: allTags
    token: token
    queue: queue
    appPrincipalId: appIdentity.outputs.principalId
    senders: queueSenders
    isPrivate: networkIsolation
  }
}

module vault 'app/vault.bicep' = {
  scope: appGroup
  params: {
    location: location
    tags: allTags
    name: 'kv-${token}'
    appPrincipalId: appIdentity.outputs.principalId
    isPrivate: networkIsolation
    purgeProtection: purgeProtection
  }
}

module postgresql 'app/database.bicep' = if (makesDatabase) {
  scope: appGroup
  params: {
    location: location
    tags: allTags
    name: 'psql-${token}'
    databaseName: 'powerlift'
    size: databaseSize
    storageGb: databaseStorageGb
    backupDays: databaseBackupDays
    administrator: operator
    operatorAddress: operatorAddress
    isPrivate: networkIsolation
  }
}

module monitoring 'app/monitoring.bicep' = {
  scope: appGroup
  params: {
    location: location
    tags: allTags
    suffix: suffix
    appPrincipalId: appIdentity.outputs.principalId
    retentionDays: logRetentionDays
    dailyCapGb: logDailyCapGb
    alertEmails: alertEmails
  }
}

module budget 'app/budget.bicep' = if (monthlyBudget > 0 && !empty(alertEmails)) {
  scope: vmGroup
  params: { amount: max(monthlyBudget, 1), start: budgetStart, emails: alertEmails }
}

module scheduler 'app/scheduler.bicep' = if (durableBackend == 'DurableTaskScheduler') {
  scope: appGroup
  params: {
    location: location
    tags: allTags
    name: 'dts-${token}'
    taskHub: taskHub
    appIdentity: { principalId: appIdentity.outputs.principalId, clientId: appIdentity.outputs.clientId }
  }
}

// The app

var secretUrl = '${vault.outputs.url}secrets'
// In alphabetical order. tests/infra/test_settings.py compares the names with docs/settings.md.
var appSettings = {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${appIdentity.outputs.clientId};Authorization=AAD'
  APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
  AZURE_CLIENT_ID: appIdentity.outputs.clientId
  AZURE_RESOURCE_GROUP: vmGroup.name
  AZURE_SUBSCRIPTION_ID: subscription().subscriptionId
  AZURE_TENANT_ID: subscription().tenantId
  AzureWebJobsStorage__accountName: 'hub${token}'
  AzureWebJobsStorage__clientId: appIdentity.outputs.clientId
  AzureWebJobsStorage__credential: 'managedidentity'
  FLEET_ALLOWED_IMAGES: join(concat(['canonical'], galleryIds), ',')
  FLEET_ALLOWED_PRINCIPALS: empty(clientPrincipalIds) ? 'none' : join(clientPrincipalIds, ',')
  FLEET_ALLOWED_REGIONS: join(vmRegions, ',')
  FLEET_ALLOWED_SCOPES: empty(resourceScopes) ? 'none' : join(resourceScopes, ',')
  FLEET_ALLOWED_SUBNETS: join(concat([vmGroup.id], subnetIds), ',')
  FLEET_MAX_LIFETIME_DAYS: string(maxLifetimeDays)
  FLEET_MAX_VMS: string(maxVms)
  FLEET_OWNER: environmentName
  FLEET_PROTECTED_RESOURCES: appGroup.id
  FLEET_QUEUE: queue
  FLEET_QUEUE_CONNECTION__clientId: appIdentity.outputs.clientId
  FLEET_QUEUE_CONNECTION__credential: 'managedidentity'
  FLEET_QUEUE_CONNECTION__queueServiceUri: storage.outputs.queueUrl
  FLEET_SEALING_KEY: '@Microsoft.KeyVault(SecretUri=${secretUrl}/sealing-key)'
  FLEET_VM_IDENTITY: vmIdentity.outputs.id
  FLEET_VM_ROLE: rights.outputs.vmRole
  POWERLIFT_DB_URI: makesDatabase
    ? 'postgresql://${appIdentityName}@${postgresql!.outputs.host}/powerlift'
    : '@Microsoft.KeyVault(SecretUri=${secretUrl}/database-uri)'
  TASKHUB_NAME: taskHub
}
var optionalSettings = union(
  maxCost > 0 ? { FLEET_MAX_COST: string(maxCost) } : {},
  monthlyBudget > 0 ? { FLEET_BUDGET: string(monthlyBudget) } : {},
  signNotifications ? { FLEET_WEBHOOK_SECRET: '@Microsoft.KeyVault(SecretUri=${secretUrl}/webhook-secret)' } : {}
)

module functionApp 'app/function-app.bicep' = {
  scope: appGroup
  params: {
    location: location
    tags: allTags
    name: 'powerlift-fleet-${token}'
    identityId: appIdentity.outputs.id
    codeContainerUrl: '${storage.outputs.blobUrl}code'
    subnetId: networks.outputs.appSubnetId
    maximumInstances: maximumInstances
    instanceMemoryMb: instanceMemoryMb
    appSettings: union(
      appSettings,
      optionalSettings,
      durableBackend == 'DurableTaskScheduler' ? scheduler!.outputs.appSettings : {},
      settings
    )
  }
}

module privateEndpoints 'network/private-endpoints.bicep' = if (networkIsolation) {
  scope: appGroup
  params: {
    location: location
    tags: allTags
    hubStorageId: storage.outputs.hubId
    queueStorageId: storage.outputs.queuesId
    vaultId: vault.outputs.id
    databaseId: makesDatabase ? postgresql!.outputs.id : ''
    hasDatabase: makesDatabase
    subnetId: networks.outputs.endpointSubnetId
    zoneIds: networks.outputs.zoneIds
  }
}

// What the client and the hooks read (azd env get-values)

@description('The app\'s URL, for the client.')
output FLEET_URL string = functionApp.outputs.url

@description('URL of the queue, for submitting by queue.')
output FLEET_QUEUE_URL string = '${storage.outputs.queueUrl}${queue}'

@description('Name of the function app.')
output FLEET_APP_NAME string = 'powerlift-fleet-${token}'

@description('Resource group of the app.')
output FLEET_APP_GROUP string = appGroup.name

@description('Resource group of the VMs.')
output FLEET_VM_GROUP string = vmGroup.name

@description('ARM ID of the key vault.')
output FLEET_VAULT_ID string = vault.outputs.id

@description('Host name of the new PostgreSQL server; empty: none.')
output FLEET_DATABASE_HOST string = makesDatabase ? postgresql!.outputs.host : ''

@description('PostgreSQL role of the app, which is the name of its identity.')
output FLEET_APP_IDENTITY string = appIdentityName

@description('PostgreSQL role of the VMs, which is the name of their identity.')
output FLEET_VM_IDENTITY_NAME string = vmIdentityName

@description('What the names of the custom roles end with.')
output FLEET_ROLE_SUFFIX string = suffix
