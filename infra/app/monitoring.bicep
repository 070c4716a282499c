// Log Analytics, Application Insights and its alerts. Telemetry is sent with the app's identity only; host.json samples it.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('What the names end with.')
param suffix string

@description('Object ID of the app\'s identity.')
param appPrincipalId string

@description('Days for which logs are kept.')
param retentionDays int

@description('Gigabytes per day, beyond which logs are dropped.')
param dailyCapGb int

@description('Addresses that get the alerts.')
param alertEmails string[]

var monitoringMetricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-${suffix}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    workspaceCapping: { dailyQuotaGb: dailyCapGb }
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${suffix}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource appMayPublish 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, monitoringMetricsPublisher, appPrincipalId)
  scope: insights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringMetricsPublisher)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

module alerts 'alerts.bicep' = {
  params: { location: location, tags: tags, suffix: suffix, insightsId: insights.id, emails: alertEmails }
}

@description('Where telemetry is sent to. No secret: sending requires a role.')
output connectionString string = insights.properties.ConnectionString
