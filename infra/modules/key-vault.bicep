// The Key Vault that holds the credentials of external systems. Nothing is put into it here: administrators store what they
// need with `PUT /api/secrets` or `az keyvault secret set`.

@minLength(3)
@maxLength(24)
param name string
param location string
param tags object
param workspaceId string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    // Can't be taken back: whoever gets hold of the app's identity or of an owner's can delete secrets, but not for good.
    enablePurgeProtection: true
    // As in storage.bicep: open to the network, closed to whoever has no role.
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: 'Allow'
    }
  }
}

// Every access to a secret, refused ones included, with who and from where.
resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'audit'
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'AuditEvent', enabled: true }]
  }
}

output name string = vault.name
output url string = vault.properties.vaultUri
