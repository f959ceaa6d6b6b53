// The resources of IAM: roles, users, groups, policies, attachments and OpenID Connect providers.
package main

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

const (
	pushes   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`
	pulls    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*"}]}`
	readOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
)

// trusts is a trust policy that names a service, as most of Terraform's examples do.
const trusts = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
	`"Principal":{"Service":"ecr.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// document undoes the encoding in which policies are answered.
func document(encoded *string) string {
	text, err := url.QueryUnescape(aws.ToString(encoded))
	if err != nil {
		return err.Error()
	}
	return text
}

func policyLives(ctx context.Context, made clients) error {
	created, err := made.iam.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName: aws.String("terraform-policy"), PolicyDocument: aws.String(pushes), Path: aws.String("/"),
		Description: aws.String("pushes"), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
	})
	if err != nil {
		return err
	}
	arn := created.Policy.Arn
	found, err := made.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})
	if err != nil {
		return err
	}
	version, err := made.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{
		PolicyArn: arn, VersionId: found.Policy.DefaultVersionId,
	})
	if err != nil {
		return err
	}
	if err := check(
		same("the description", aws.ToString(found.Policy.Description), "pushes"),
		same("the number of tags", len(found.Policy.Tags), 1),
		same("the document", document(version.PolicyVersion.Document), pushes),
	); err != nil {
		return err
	}
	changed, err := made.iam.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{
		PolicyArn: arn, PolicyDocument: aws.String(pulls), SetAsDefault: true,
	})
	if err != nil {
		return err
	}
	versions, err := made.iam.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: arn})
	if err != nil {
		return err
	}
	for _, each := range versions.Versions {
		if each.IsDefaultVersion {
			continue
		}
		if _, err := made.iam.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{
			PolicyArn: arn, VersionId: each.VersionId,
		}); err != nil {
			return err
		}
	}
	if _, err := made.iam.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn}); err != nil {
		return err
	}
	_, err = made.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})
	return check(
		same("the new version", aws.ToString(changed.PolicyVersion.VersionId), "v2"),
		that(is[*types.NoSuchEntityException](err), "a policy that is gone is no such entity"),
	)
}

func roleLives(ctx context.Context, made clients) error {
	name := aws.String("terraform-role")
	created, err := made.iam.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: name, AssumeRolePolicyDocument: aws.String(trusts), Path: aws.String("/"),
		MaxSessionDuration: aws.Int32(3600), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
	})
	if err != nil {
		return err
	}
	if _, err := made.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: name, PolicyName: aws.String("own"), PolicyDocument: aws.String(pulls),
	}); err != nil {
		return err
	}
	if _, err := made.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{
		RoleName: name, PolicyArn: aws.String(readOnly),
	}); err != nil {
		return err
	}
	found, err := made.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	if err != nil {
		return err
	}
	inline, err := made.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: name})
	if err != nil {
		return err
	}
	attached, err := made.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: name})
	if err != nil {
		return err
	}
	if err := check(
		same("the trust policy", document(found.Role.AssumeRolePolicyDocument), trusts),
		same("the trust policy in the first answer", document(created.Role.AssumeRolePolicyDocument), trusts),
		same("the longest session", aws.ToInt32(found.Role.MaxSessionDuration), 3600),
		same("the inline policies", strings.Join(inline.PolicyNames, ","), "own"),
		same("the number of attached policies", len(attached.AttachedPolicies), 1),
	); err != nil {
		return err
	}
	if _, err := made.iam.UpdateRole(ctx, &iam.UpdateRoleInput{
		RoleName: name, MaxSessionDuration: aws.Int32(7200), Description: aws.String("changed"),
	}); err != nil {
		return err
	}
	if _, err := made.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{
		RoleName: name, PolicyDocument: aws.String(trusts),
	}); err != nil {
		return err
	}
	if _, err := made.iam.TagRole(ctx, &iam.TagRoleInput{
		RoleName: name, Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("d")}},
	}); err != nil {
		return err
	}
	return roleGoes(ctx, made.iam, name)
}

// roleGoes takes a role away as Terraform does, with force_detach_policies.
func roleGoes(ctx context.Context, client *iam.Client, name *string) error {
	profiles, err := client.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: name})
	if err != nil {
		return err
	}
	_, early := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
	if _, err := client.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{
		RoleName: name, PolicyArn: aws.String(readOnly),
	}); err != nil {
		return err
	}
	if _, err := client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{
		RoleName: name, PolicyName: aws.String("own"),
	}); err != nil {
		return err
	}
	if _, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); err != nil {
		return err
	}
	_, gone := client.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	return check(
		same("the number of instance profiles", len(profiles.InstanceProfiles), 0),
		that(is[*types.DeleteConflictException](early), "a role with policies is not deleted"),
		that(is[*types.NoSuchEntityException](gone), "a role that is gone is no such entity"),
	)
}

func userLives(ctx context.Context, made clients) error {
	name, group := aws.String("terraform-user"), aws.String("terraform-group")
	if _, err := made.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: name, Path: aws.String("/")}); err != nil {
		return err
	}
	if _, err := made.iam.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: group}); err != nil {
		return err
	}
	if _, err := made.iam.AddUserToGroup(ctx, &iam.AddUserToGroupInput{UserName: name, GroupName: group}); err != nil {
		return err
	}
	if _, err := made.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{
		UserName: name, PolicyArn: aws.String(readOnly),
	}); err != nil {
		return err
	}
	if _, err := made.iam.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{
		GroupName: group, PolicyArn: aws.String(readOnly),
	}); err != nil {
		return err
	}
	found, err := made.iam.GetUser(ctx, &iam.GetUserInput{UserName: name})
	if err != nil {
		return err
	}
	members, err := made.iam.GetGroup(ctx, &iam.GetGroupInput{GroupName: group})
	if err != nil {
		return err
	}
	if err := check(
		same("the path", aws.ToString(found.User.Path), "/"),
		same("the number of members", len(members.Users), 1),
	); err != nil {
		return err
	}
	return userGoes(ctx, made.iam, name, group)
}

// userGoes takes a user away as Terraform does, with force_destroy.
func userGoes(ctx context.Context, client *iam.Client, name, group *string) error {
	_, noLogin := client.DeleteLoginProfile(ctx, &iam.DeleteLoginProfileInput{UserName: name})
	steps := []func() error{
		func() error {
			_, err := client.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{UserName: name, GroupName: group})
			return err
		},
		func() error {
			_, err := client.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: name})
			return err
		},
		func() error {
			_, err := client.ListSSHPublicKeys(ctx, &iam.ListSSHPublicKeysInput{UserName: name})
			return err
		},
		func() error {
			_, err := client.ListMFADevices(ctx, &iam.ListMFADevicesInput{UserName: name})
			return err
		},
		func() error {
			_, err := client.ListSigningCertificates(ctx, &iam.ListSigningCertificatesInput{UserName: name})
			return err
		},
		func() error {
			_, err := client.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{
				UserName: name, PolicyArn: aws.String(readOnly),
			})
			return err
		},
		func() error {
			_, err := client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name})
			return err
		},
		func() error {
			_, err := client.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{
				GroupName: group, PolicyArn: aws.String(readOnly),
			})
			return err
		},
		func() error {
			_, err := client.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: group})
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	_, gone := client.GetUser(ctx, &iam.GetUserInput{UserName: name})
	return check(
		that(is[*types.NoSuchEntityException](noLogin), "a user has no password"),
		that(is[*types.NoSuchEntityException](gone), "a user that is gone is no such entity"),
	)
}

func providerLives(ctx context.Context, made clients) error {
	created, err := made.iam.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
		Url: aws.String("https://terraform.example.com"), ClientIDList: []string{"sts.amazonaws.com"},
	})
	if err != nil {
		return err
	}
	arn := created.OpenIDConnectProviderArn
	if _, err := made.iam.AddClientIDToOpenIDConnectProvider(ctx, &iam.AddClientIDToOpenIDConnectProviderInput{
		OpenIDConnectProviderArn: arn, ClientID: aws.String("other"),
	}); err != nil {
		return err
	}
	found, err := made.iam.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{
		OpenIDConnectProviderArn: arn,
	})
	if err != nil {
		return err
	}
	if _, err := made.iam.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{
		OpenIDConnectProviderArn: arn,
	}); err != nil {
		return err
	}
	_, gone := made.iam.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{
		OpenIDConnectProviderArn: arn,
	})
	return check(
		same("the URL", aws.ToString(found.Url), "terraform.example.com"),
		same("the audiences", strings.Join(found.ClientIDList, ","), "sts.amazonaws.com,other"),
		that(is[*types.NoSuchEntityException](gone), "a provider that is gone is no such entity"),
	)
}
