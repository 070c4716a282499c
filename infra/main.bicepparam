// The parameters of `azd up`: infra/hooks/ask.sh keeps the answers in the azd environment.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'powerlift')
param location = readEnvironmentVariable('AZURE_LOCATION', 'eastus')
param vmRegions = split(readEnvironmentVariable('FLEET_VM_REGIONS', readEnvironmentVariable('AZURE_LOCATION', 'eastus')), ',')
param operator = {
  principalId: readEnvironmentVariable('AZURE_PRINCIPAL_ID', '00000000-0000-0000-0000-000000000000')
  name: readEnvironmentVariable('FLEET_OPERATOR_NAME', 'operator')
  type: readEnvironmentVariable('AZURE_PRINCIPAL_TYPE', 'User')
}
param operatorAddress = readEnvironmentVariable('FLEET_OPERATOR_ADDRESS', '')
param queueSenders = [{ principalId: operator.principalId, type: operator.type }]
param networkIsolation = bool(readEnvironmentVariable('FLEET_NETWORK_ISOLATION', 'false'))
param database = readEnvironmentVariable('FLEET_DATABASE', 'new')
param durableBackend = readEnvironmentVariable('FLEET_DURABLE_BACKEND', 'AzureStorage')
param maxVms = int(readEnvironmentVariable('FLEET_MAX_VMS', '100'))
param monthlyBudget = int(readEnvironmentVariable('FLEET_BUDGET', '0'))
param budgetStart = readEnvironmentVariable('FLEET_BUDGET_START', '2026-01-01')
param alertEmails = empty(readEnvironmentVariable('FLEET_ALERT_EMAILS', ''))
  ? []
  : split(readEnvironmentVariable('FLEET_ALERT_EMAILS', ''), ',')
