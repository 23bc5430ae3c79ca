// Read by `azd up` and by `az deployment sub create --parameters infra/main.bicepparam`. Values come from the environment, so
// that one file serves every deployment: azd sets AZURE_ENV_NAME and AZURE_LOCATION, `azd env set` the rest.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')
param location = readEnvironmentVariable('AZURE_LOCATION')
param audience = readEnvironmentVariable('CROSSWALK_AUDIENCE')
param corsOrigins = filter(split(readEnvironmentVariable('CROSSWALK_CORS_ORIGINS', ''), ','), origin => !empty(origin))
param githubRepository = readEnvironmentVariable('GITHUB_REPOSITORY', '')
