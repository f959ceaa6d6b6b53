// What Terraform changes in place: the updates of IAM's resources, and how exclusive attachments are read.
package main

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

const replication = "replication.ecr.amazonaws.com"

// step is one call; its error stops the scenario.
type step func() error

// done makes a step of a call whose answer says nothing.
func done[I, O any](
	ctx context.Context, call func(context.Context, *I, ...func(*iam.Options)) (*O, error), input *I,
) step {
	return func() error {
		_, err := call(ctx, input)
		return err
	}
}

func inTurn(steps ...step) error {
	for _, next := range steps {
		if err := next(); err != nil {
			return err
		}
	}
	return nil
}

func tagged(key, value string) []types.Tag {
	return []types.Tag{{Key: aws.String(key), Value: aws.String(value)}}
}

// written is how tags stand in a check.
func written(tags []types.Tag) string {
	var pairs []string
	for _, tag := range tags {
		pairs = append(pairs, aws.ToString(tag.Key)+"="+aws.ToString(tag.Value))
	}
	return strings.Join(pairs, ",")
}

func roleChanges(ctx context.Context, made clients) error {
	client, name := made.iam, aws.String("terraform-changing-role")
	if err := inTurn(
		done(ctx, client.CreateRole, &iam.CreateRoleInput{
			RoleName: name, AssumeRolePolicyDocument: aws.String(trusts), Description: aws.String("before"),
			PermissionsBoundary: aws.String(readOnly), Tags: tagged("a", "b"),
		}),
		done(ctx, client.UpdateRoleDescription, &iam.UpdateRoleDescriptionInput{
			RoleName: name, Description: aws.String("after"),
		}),
		done(ctx, client.TagRole, &iam.TagRoleInput{RoleName: name, Tags: tagged("c", "d")}),
		done(ctx, client.UntagRole, &iam.UntagRoleInput{RoleName: name, TagKeys: []string{"a"}}),
	); err != nil {
		return err
	}
	bounded, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	if err != nil {
		return err
	}
	if err := inTurn(done(ctx, client.DeleteRolePermissionsBoundary, &iam.DeleteRolePermissionsBoundaryInput{
		RoleName: name,
	})); err != nil {
		return err
	}
	free, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	if err != nil {
		return err
	}
	tags, err := client.ListRoleTags(ctx, &iam.ListRoleTagsInput{RoleName: name})
	if err != nil {
		return err
	}
	_, malformed := client.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{
		RoleName: name, PolicyDocument: aws.String(strings.Replace(
			trusts, `"Service":"ecr.amazonaws.com"`, `"AWS":"arn:aws:iam::999999999999:role/nowhere"`, 1,
		)),
	})
	if err := inTurn(done(ctx, client.DeleteRole, &iam.DeleteRoleInput{RoleName: name})); err != nil {
		return err
	}
	return check(
		same("the boundary", aws.ToString(bounded.Role.PermissionsBoundary.PermissionsBoundaryArn), readOnly),
		that(free.Role.PermissionsBoundary == nil, "a boundary that is deleted is not told"),
		same("the description", aws.ToString(free.Role.Description), "after"),
		same("the tags", written(tags.Tags), "c=d"),
		same("the tags of the role", written(free.Role.Tags), "c=d"),
		that(is[*types.MalformedPolicyDocumentException](malformed), "an unknown principal is malformed: %v", malformed),
		// Terraform tries again upon these very words.
		that(malformed != nil && strings.Contains(malformed.Error(), "Invalid principal in policy"), "%v", malformed),
	)
}

func serviceRoleLives(ctx context.Context, made clients) error {
	client := made.iam
	input := &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String(replication)}
	created, err := client.CreateServiceLinkedRole(ctx, input)
	if err != nil {
		return err
	}
	name := created.Role.RoleName
	_, taken := client.CreateServiceLinkedRole(ctx, input)
	_, kept := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
	deleted, err := client.DeleteServiceLinkedRole(ctx, &iam.DeleteServiceLinkedRoleInput{RoleName: name})
	if err != nil {
		return err
	}
	status, err := client.GetServiceLinkedRoleDeletionStatus(ctx, &iam.GetServiceLinkedRoleDeletionStatusInput{
		DeletionTaskId: deleted.DeletionTaskId,
	})
	if err != nil {
		return err
	}
	_, gone := client.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	return check(
		same("the path", aws.ToString(created.Role.Path), "/aws-service-role/"+replication+"/"),
		that(is[*types.InvalidInputException](taken), "a service has one role: %v", taken),
		that(is[*types.UnmodifiableEntityException](kept), "a service's role is its own: %v", kept),
		same("the deletion", status.Status, types.DeletionTaskStatusTypeSucceeded),
		that(is[*types.NoSuchEntityException](gone), "a role that is gone is no such entity"),
	)
}

func userChanges(ctx context.Context, made clients) error {
	client, before, name := made.iam, aws.String("terraform-before"), aws.String("terraform-after")
	group, renamed := aws.String("terraform-makers"), aws.String("terraform-builders")
	if err := inTurn(
		done(ctx, client.CreateUser, &iam.CreateUserInput{UserName: before, Tags: tagged("a", "b")}),
		done(ctx, client.UpdateUser, &iam.UpdateUserInput{
			UserName: before, NewUserName: name, NewPath: aws.String("/team/"),
		}),
		done(ctx, client.PutUserPermissionsBoundary, &iam.PutUserPermissionsBoundaryInput{
			UserName: name, PermissionsBoundary: aws.String(readOnly),
		}),
		done(ctx, client.TagUser, &iam.TagUserInput{UserName: name, Tags: tagged("c", "d")}),
		done(ctx, client.UntagUser, &iam.UntagUserInput{UserName: name, TagKeys: []string{"a"}}),
		done(ctx, client.CreateGroup, &iam.CreateGroupInput{GroupName: group}),
		done(ctx, client.UpdateGroup, &iam.UpdateGroupInput{GroupName: group, NewGroupName: renamed}),
		done(ctx, client.PutGroupPolicy, &iam.PutGroupPolicyInput{
			GroupName: renamed, PolicyName: aws.String("own"), PolicyDocument: aws.String(pulls),
		}),
		done(ctx, client.AddUserToGroup, &iam.AddUserToGroupInput{UserName: name, GroupName: renamed}),
		done(ctx, client.AttachUserPolicy, &iam.AttachUserPolicyInput{
			UserName: name, PolicyArn: aws.String(readOnly),
		}),
	); err != nil {
		return err
	}
	found, err := client.GetUser(ctx, &iam.GetUserInput{UserName: name})
	if err != nil {
		return err
	}
	groups, err := client.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: name})
	if err != nil {
		return err
	}
	own, err := client.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: renamed, PolicyName: aws.String("own")})
	if err != nil {
		return err
	}
	// aws_iam_policy_attachment is exclusive: it reads who has the policy.
	having, err := client.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: aws.String(readOnly)})
	if err != nil {
		return err
	}
	_, old := client.GetUser(ctx, &iam.GetUserInput{UserName: before})
	if err := inTurn(
		done(ctx, client.DetachUserPolicy, &iam.DetachUserPolicyInput{UserName: name, PolicyArn: aws.String(readOnly)}),
		done(ctx, client.DeleteUserPermissionsBoundary, &iam.DeleteUserPermissionsBoundaryInput{UserName: name}),
		done(ctx, client.RemoveUserFromGroup, &iam.RemoveUserFromGroupInput{UserName: name, GroupName: renamed}),
		done(ctx, client.DeleteGroupPolicy, &iam.DeleteGroupPolicyInput{GroupName: renamed, PolicyName: aws.String("own")}),
		done(ctx, client.DeleteGroup, &iam.DeleteGroupInput{GroupName: renamed}),
		done(ctx, client.DeleteUser, &iam.DeleteUserInput{UserName: name}),
	); err != nil {
		return err
	}
	return check(
		same("the path", aws.ToString(found.User.Path), "/team/"),
		same("the tags", written(found.User.Tags), "c=d"),
		same("the boundary", aws.ToString(found.User.PermissionsBoundary.PermissionsBoundaryArn), readOnly),
		same("the number of groups", len(groups.Groups), 1),
		same("the group's policy", document(own.PolicyDocument), pulls),
		same("the number of users with the policy", len(having.PolicyUsers), 1),
		that(is[*types.NoSuchEntityException](old), "nobody has the old name"),
	)
}

func providerChanges(ctx context.Context, made clients) error {
	client := made.iam
	created, err := client.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
		Url: aws.String("https://terraform.example.com/changing/"), ClientIDList: []string{"old"},
		ThumbprintList: []string{strings.Repeat("a", 40)}, Tags: tagged("a", "b"),
	})
	if err != nil {
		return err
	}
	arn := created.OpenIDConnectProviderArn
	if err := inTurn(
		done(ctx, client.AddClientIDToOpenIDConnectProvider, &iam.AddClientIDToOpenIDConnectProviderInput{
			OpenIDConnectProviderArn: arn, ClientID: aws.String("new"),
		}),
		done(ctx, client.RemoveClientIDFromOpenIDConnectProvider, &iam.RemoveClientIDFromOpenIDConnectProviderInput{
			OpenIDConnectProviderArn: arn, ClientID: aws.String("old"),
		}),
		done(ctx, client.UpdateOpenIDConnectProviderThumbprint, &iam.UpdateOpenIDConnectProviderThumbprintInput{
			OpenIDConnectProviderArn: arn, ThumbprintList: []string{strings.Repeat("b", 40)},
		}),
		done(ctx, client.TagOpenIDConnectProvider, &iam.TagOpenIDConnectProviderInput{
			OpenIDConnectProviderArn: arn, Tags: tagged("c", "d"),
		}),
		done(ctx, client.UntagOpenIDConnectProvider, &iam.UntagOpenIDConnectProviderInput{
			OpenIDConnectProviderArn: arn, TagKeys: []string{"a"},
		}),
	); err != nil {
		return err
	}
	found, err := client.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	if err != nil {
		return err
	}
	if err := inTurn(done(ctx, client.DeleteOpenIDConnectProvider, &iam.DeleteOpenIDConnectProviderInput{
		OpenIDConnectProviderArn: arn,
	})); err != nil {
		return err
	}
	return check(
		// Terraform makes a provider anew whose URL comes back another one.
		same("the URL", aws.ToString(found.Url), "terraform.example.com/changing/"),
		same("the audiences", strings.Join(found.ClientIDList, ","), "new"),
		same("the thumbprints", strings.Join(found.ThumbprintList, ","), strings.Repeat("b", 40)),
		same("the tags", written(found.Tags), "c=d"),
	)
}
