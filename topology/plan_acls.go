package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/connect"
)

// errNoAuthorizer is a cluster that lets everybody do everything, and keeps no ACLs.
var errNoAuthorizer = errors.New("the brokers have no authorizer (authorizer.class.name)")

func (t *Target) planACLs(ctx context.Context, plan *Plan) error {
	there, unknown, err := t.listACLs(ctx)
	switch {
	case errors.Is(err, errNoAuthorizer):
		if len(plan.topology.ACLs) > 0 {
			plan.Notes = append(plan.Notes, count(len(plan.topology.ACLs), "ACL")+" of the topology can't be made: "+err.Error())
		}
		return nil
	case connect.IsUnauthorised(err):
		plan.Unchecked = append(plan.Unchecked, "the ACLs: the principal that connects may not see them (Describe on the cluster)")
		return nil
	case err != nil:
		return err
	}
	if unknown > 0 {
		plan.Notes = append(plan.Notes, count(unknown, "ACL")+" of a kind that is not known here: left as it is")
	}
	has := make(map[ACL]bool, len(there))
	for _, acl := range there {
		has[acl] = true
	}
	wanted := make(map[ACL]bool, len(plan.topology.ACLs))
	for _, acl := range plan.topology.ACLs {
		wanted[acl] = true
		if has[acl] {
			plan.Existing++
			continue
		}
		plan.Changes = append(plan.Changes, Change{Kind: KindACL, Action: Create, Name: acl.String(), ACL: &acl})
	}
	for _, acl := range there {
		switch {
		case wanted[acl] || matches(plan.topology.Protected.Principals, acl.Principal):
		case plan.options.DeleteACLs:
			plan.Changes = append(plan.Changes, Change{Kind: KindACL, Action: Delete, Name: acl.String(), ACL: &acl})
		default:
			plan.Unlisted.ACLs = append(plan.Unlisted.ACLs, acl)
		}
	}
	return nil
}

// listACLs are all of a cluster's, sorted, and how many there are of kinds that are not known here.
func (t *Target) listACLs(ctx context.Context) (all []ACL, unknown int, err error) {
	request := kmsg.NewPtrDescribeACLsRequest()
	request.ResourceType, request.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	request.Operation, request.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	var response *kmsg.DescribeACLsResponse
	err = t.reading(ctx, "reading the ACLs", func(ctx context.Context) (err error) {
		if response, err = request.RequestWith(ctx, t.Kafka); err != nil {
			return err
		}
		err = kerr.ErrorForCode(response.ErrorCode)
		if errors.Is(err, kerr.SecurityDisabled) {
			return errNoAuthorizer
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, resource := range response.Resources {
		for _, entry := range resource.ACLs {
			acl := ACL{
				Principal: entry.Principal, Host: entry.Host, Name: resource.ResourceName,
				Resource: wordFor(resourceNumbers, resource.ResourceType), Pattern: wordFor(patternNumbers, resource.ResourcePatternType),
				Operation: wordFor(operationNumbers, entry.Operation), Permission: wordFor(permissionNumbers, entry.PermissionType),
			}
			if acl.Resource == "" || acl.Pattern == "" || acl.Operation == "" || acl.Permission == "" {
				unknown++
				continue
			}
			all = append(all, acl)
		}
	}
	return uniqueACLs(all), unknown, nil
}

// aclsAtOnce is how many entries go into one request: brokers apply at most 10,000 records at once (Kafka's MAX_RECORDS_PER_USER_OP).
const aclsAtOnce = 5000

// createACLs makes entries in one request: the first one on a resource locks out everybody whose own is not there.
func (t *Target) createACLs(ctx context.Context, changes []*Change) ([]error, error) {
	request := kmsg.NewPtrCreateACLsRequest()
	for _, change := range changes {
		acl, creation := change.ACL, kmsg.NewCreateACLsRequestCreation()
		creation.ResourceType, creation.ResourceName, creation.ResourcePatternType = resourceNumbers[acl.Resource], acl.Name, patternNumbers[acl.Pattern]
		creation.Principal, creation.Host = acl.Principal, acl.Host
		creation.Operation, creation.PermissionType = operationNumbers[acl.Operation], permissionNumbers[acl.Permission]
		request.Creations = append(request.Creations, creation)
	}
	response, err := request.RequestWith(ctx, t.Kafka)
	if err != nil {
		return nil, connect.Explain(err)
	}
	var results []error
	for _, result := range response.Results {
		results = append(results, withMessage(result.ErrorCode, result.ErrorMessage))
	}
	return results, nil
}

// deleteACLs deletes entries, in one request as well.
func (t *Target) deleteACLs(ctx context.Context, changes []*Change) ([]error, error) {
	request := kmsg.NewPtrDeleteACLsRequest()
	for _, change := range changes {
		acl, filter := change.ACL, kmsg.NewDeleteACLsRequestFilter()
		filter.ResourceType, filter.ResourceName, filter.ResourcePatternType = resourceNumbers[acl.Resource], kmsg.StringPtr(acl.Name), patternNumbers[acl.Pattern]
		filter.Principal, filter.Host = kmsg.StringPtr(acl.Principal), kmsg.StringPtr(acl.Host)
		filter.Operation, filter.PermissionType = operationNumbers[acl.Operation], permissionNumbers[acl.Permission]
		request.Filters = append(request.Filters, filter)
	}
	response, err := request.RequestWith(ctx, t.Kafka)
	if err != nil {
		return nil, connect.Explain(err)
	}
	var results []error
	for _, result := range response.Results {
		err := withMessage(result.ErrorCode, result.ErrorMessage)
		for _, match := range result.MatchingACLs {
			err = cmp.Or(err, withMessage(match.ErrorCode, match.ErrorMessage))
		}
		results = append(results, err)
	}
	return results, nil
}

// withMessage is one of Kafka's errors with what the broker adds to it.
func withMessage(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil {
		return nil
	}
	if message != nil && *message != "" {
		err = fmt.Errorf("%w: %s", err, *message)
	}
	return connect.Explain(err)
}
