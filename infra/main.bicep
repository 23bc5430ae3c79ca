// Everything that the service needs, in a resource group of its own. docs/deploy.md says how to run it.
//
// No secret comes in and none goes out: every part reaches every other with the app's own identity.
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Tells this deployment from others: production, test, the name of a customer. Part of the resource group\'s name.')
param environmentName string

@minLength(1)
@description('A region that has Flex Consumption: az functionapp list-flexconsumption-locations')
param location string

@minLength(2)
@maxLength(10)
@description('What the name of every resource begins with: lower-case letters and digits. Storage accounts leave room for 10.')
param namePrefix string = 'crosswalk'

@minLength(36)
@maxLength(36)
@description('Client id of the app registration of this API; what tokens have to be for.')
param audience string

@description('Origins whose web pages may call from a browser, exact: https://admin.example.com')
param corsOrigins string[] = []

@description('How rows and packages are replicated. The tables have no other backup than this.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Memory of one instance in MB. The program takes under 100 of them, the Functions host the rest.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 512

@minValue(40)
@maxValue(1000)
@description('Instances at most; 40 is the least that Flex Consumption takes.')
param maximumInstanceCount int = 40

@minValue(0)
@maxValue(20)
@description('Instances that are kept warm for HTTP, and paid for all the time. None: the first request after a pause waits for a start.')
param alwaysReadyInstances int = 0

@minValue(30)
@maxValue(730)
@description('Days that logs are kept.')
param logRetentionDays int = 90

@minValue(1)
@maxValue(100)
@description('Logs are dropped once this many GB came on one day: bounds the bill, whatever goes wrong.')
param dailyLogLimitGB int = 1

@description('What the service logs: a level, or levels by module as RUST_LOG takes them.')
param logFilter string = 'info'

@description('OWNER/REPOSITORY on GitHub whose workflow may publish, without a stored secret. Empty: none.')
param githubRepository string = ''

@description('The environment of that repository that the publishing job runs in; approvals are set there.')
param githubEnvironment string = 'production'

@description('Further tags of every resource.')
param tags object = {}

var token = uniqueString(subscription().id, environmentName, location)
var allTags = union(tags, { 'azd-env-name': environmentName })

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${namePrefix}-${environmentName}'
  location: location
  tags: allTags
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    name: '${namePrefix}-${token}'
    location: location
    tags: allTags
    retentionDays: logRetentionDays
    dailyLimitGB: dailyLogLimitGB
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: '${namePrefix}${token}'
    location: location
    tags: allTags
    sku: storageSku
    workspaceId: monitoring.outputs.workspaceId
  }
}

module keyVault 'modules/key-vault.bicep' = {
  name: 'key-vault'
  scope: group
  params: {
    name: '${namePrefix}-${token}'
    location: location
    tags: allTags
    workspaceId: monitoring.outputs.workspaceId
  }
}

module functionApp 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    name: '${namePrefix}-${token}'
    location: location
    tags: allTags
    storageAccountName: storage.outputs.name
    packageContainerUrl: storage.outputs.packageContainerUrl
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    keyVaultUrl: keyVault.outputs.url
    audience: audience
    corsOrigins: corsOrigins
    logFilter: logFilter
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
  }
}

// The identity exists only once the app does, so the roles come after it. Nothing is missed: the app has no code until it is
// published, and publishing begins after this deployment has ended.
module roles 'modules/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    principalId: functionApp.outputs.principalId
    storageAccountName: storage.outputs.name
    keyVaultName: keyVault.outputs.name
    applicationInsightsName: monitoring.outputs.applicationInsightsName
  }
}

module publisher 'modules/publisher.bicep' = if (!empty(githubRepository)) {
  name: 'publisher'
  scope: group
  params: {
    name: '${namePrefix}-publisher-${token}'
    location: location
    tags: allTags
    functionAppName: functionApp.outputs.name
    planName: functionApp.outputs.planName
    repository: githubRepository
    environmentName: githubEnvironment
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = functionApp.outputs.name
output AZURE_FUNCTION_APP_URL string = functionApp.outputs.url
output AZURE_STORAGE_ACCOUNT_NAME string = storage.outputs.name
output AZURE_TABLE_SERVICE_URI string = storage.outputs.tableServiceUri
output AZURE_KEY_VAULT_NAME string = keyVault.outputs.name
output AZURE_LOG_WORKSPACE_ID string = monitoring.outputs.workspaceCustomerId
output AZURE_PUBLISHER_CLIENT_ID string = empty(githubRepository) ? '' : publisher!.outputs.clientId
