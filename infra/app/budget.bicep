// Azure's own budget of the VMs' resource group. It informs, a day late; FLEET_BUDGET limits.

@description('US dollars per calendar month, in the currency of the subscription.')
@minValue(1)
param amount int

@description('First day of the month in which the budget starts (yyyy-MM-01).')
param start string

@description('Addresses to inform.')
@minLength(1)
param emails string[]

resource budget 'Microsoft.Consumption/budgets@2023-11-01' = {
  name: 'powerlift-fleet'
  properties: {
    category: 'Cost'
    amount: amount
    timeGrain: 'Monthly'
    timePeriod: { startDate: start }
    notifications: {
      actual: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 100
        thresholdType: 'Actual'
        contactEmails: emails
      }
      forecast: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: emails
      }
    }
  }
}
