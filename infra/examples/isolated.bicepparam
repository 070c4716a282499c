// VMs in two regions, images of a community gallery, everything private, limits of cost, protection against removal.
using '../main.bicep'

param environmentName = 'bench'
param location = 'westeurope'
param vmRegions = ['westeurope', 'northeurope']
param galleryIds = ['/communityGalleries/bench-941eb251-27ab-53dd-b1e0-b1ca8fecaab2']
param networkIsolation = true
param operator = { principalId: '11111111-1111-1111-1111-111111111111', name: 'bench-operators', type: 'Group' }
param databaseSize = 'Standard_D2ds_v5'
param maxVms = 500
param maxCost = 200
param monthlyBudget = 5000
param budgetStart = '2026-01-01'
param alertEmails = ['bench@example.org']
param signNotifications = true
param purgeProtection = true
param durableBackend = 'DurableTaskScheduler'
