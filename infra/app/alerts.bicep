// Alerts on the app's log (docs/observability.md), sent by e-mail.

@description('The region.')
param location string

@description('Tags.')
param tags object

@description('What the names end with.')
param suffix string

@description('ARM ID of Application Insights.')
param insightsId string

@description('Addresses that get the alerts.')
param emails string[]

var events = 'traces | where message has "event=" | extend event = extract(@"[\\[ ]event=([a-z_.]+)", 1, message), code = extract(@" code=([A-Za-z0-9]+)", 1, message)'
var alerts = [
  {
    name: 'fleet-failed'
    title: 'A fleet failed'
    query: '${events} | where event == "fleet.ended" and severityLevel >= 3 and code !in ("BudgetExceeded", "CostLimitExceeded", "MaxCostReached")'
    window: 'PT15M'
    severity: 2
    rows: 0
  }
  {
    name: 'over-budget'
    title: 'A fleet was refused or ended because of its cost'
    query: '${events} | where event == "fleet.ended" and code in ("BudgetExceeded", "CostLimitExceeded", "MaxCostReached")'
    window: 'PT15M'
    severity: 2
    rows: 0
  }
  {
    name: 'sweep-deleted'
    title: 'The sweep deleted an orphaned VM'
    query: '${events} | where event == "sweep.deleted" and message contains "machine:"'
    window: 'PT15M'
    severity: 1
    rows: 0
  }
  {
    name: 'sweep-failing'
    title: 'The sweep fails'
    query: '${events} | where event in ("sweep.failed", "sweep.refused", "sweep.cut_short")'
    window: 'PT1H'
    severity: 1
    rows: 3
  }
  {
    name: 'sweep-missing'
    title: 'No sweep finished'
    query: '${events} | where event == "sweep.finished" | summarize sweeps = count() | where sweeps == 0'
    window: 'PT30M'
    severity: 1
    rows: 0
  }
  {
    name: 'message-rejected'
    title: 'A message was moved to the poison queue'
    query: '${events} | where event in ("request.refused", "message.failed") and severityLevel >= 3'
    window: 'PT15M'
    severity: 2
    rows: 0
  }
]

resource receivers 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'powerlift'
    enabled: true
    emailReceivers: [
      for (email, index) in emails: {
        name: 'email-${index}'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-03-15-preview' = [
  for alert in alerts: {
    name: '${alert.name}-${suffix}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Powerlift Fleet: ${alert.title}'
      severity: alert.severity
      enabled: true
      scopes: [insightsId]
      evaluationFrequency: alert.window
      windowSize: alert.window
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: alert.rows
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      autoMitigate: false
      // The tables exist once the app has sent its first line.
      skipQueryValidation: true
      actions: { actionGroups: empty(emails) ? [] : [receivers.id] }
    }
  }
]
