// The conditions of the right to assign roles (Azure's attribute-based access control, version 2.0).

@description('A role that may be assigned, by its GUID, and to whom: by default to any service principal.')
type grant = { role: string, principalIds: string[]? }

var attribute = 'Microsoft.Authorization/roleAssignments'

func ofPrincipals(source string, principalIds string[]?) string =>
  empty(principalIds)
    ? '@${source}[${attribute}:PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {\'ServicePrincipal\'}'
    : '@${source}[${attribute}:PrincipalId] ForAnyOfAnyValues:GuidEquals {${join(principalIds!, ', ')}}'

// `source`: Request for what is written, Resource for what is deleted.
func anyOf(source string, grants grant[]) string =>
  join(
    map(
      grants,
      one =>
        '(@${source}[${attribute}:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${one.role}} AND ${ofPrincipals(source, one.?principalIds)})'
    ),
    ' OR '
  )

func unless(action string, expression string) string =>
  '((!(ActionMatches{\'${attribute}/${action}\'})) OR (${expression}))'

@export()
@description('Lets a principal assign and remove these roles only.')
func mayAssign(grants grant[]) string =>
  '${unless('write', anyOf('Request', grants))} AND ${unless('delete', anyOf('Resource', grants))}'
