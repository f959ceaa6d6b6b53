// The resource aws_ecr_repository and the data sources of repositories.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// is tells whether an error is, or wraps, one of the service's typed exceptions.
func is[T error](err error) bool {
	var wanted T
	return errors.As(err, &wanted)
}

// find reads a repository back by its name, as every refresh of a plan does.
func find(ctx context.Context, client *ecr.Client, name string) (*types.Repository, error) {
	answer, err := client.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
	if err != nil {
		return nil, err
	}
	if len(answer.Repositories) != 1 {
		return nil, fmt.Errorf("%d repositories are called %s", len(answer.Repositories), name)
	}
	return &answer.Repositories[0], nil
}

func tagsOf(ctx context.Context, client *ecr.Client, arn *string) (map[string]string, error) {
	answer, err := client.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, tag := range answer.Tags {
		found[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return found, nil
}

func create(ctx context.Context, client *ecr.Client, name string) error {
	_, err := client.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &name})
	return err
}

func repositoryLives(ctx context.Context, made clients) error {
	name := "terraform/lives"
	created, err := made.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{
		RepositoryName:             &name,
		ImageTagMutability:         types.ImageTagMutabilityImmutable,
		ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: true},
		EncryptionConfiguration:    &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeAes256},
		Tags:                       []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
	})
	if err != nil {
		return err
	}
	found, err := find(ctx, made.ecr, name)
	if err != nil {
		return err
	}
	tags, err := tagsOf(ctx, made.ecr, found.RepositoryArn)
	if err != nil {
		return err
	}
	err = check(
		same("ARN", *found.RepositoryArn, *created.Repository.RepositoryArn),
		same("URI", *found.RepositoryUri, *created.Repository.RepositoryUri),
		that(len(*found.RegistryId) == 12, "the registry is an account"),
		that(found.CreatedAt.Equal(*created.Repository.CreatedAt), "its time stays as it was told"),
		that(time.Since(*found.CreatedAt).Abs() < time.Hour, "%v is now", found.CreatedAt),
		same("mutability", found.ImageTagMutability, types.ImageTagMutabilityImmutable),
		same("scanning", found.ImageScanningConfiguration.ScanOnPush, true),
		same("encryption", found.EncryptionConfiguration.EncryptionType, types.EncryptionTypeAes256),
		that(len(tags) == 1 && tags["team"] == "blue", "its tags are those it was made with: %v", tags),
	)
	if err != nil {
		return err
	}
	if err := update(ctx, made.ecr, name, found.RepositoryArn); err != nil {
		return err
	}
	return destroy(ctx, made.ecr, name)
}

// update changes what can be changed in place, each by a call of its own.
func update(ctx context.Context, client *ecr.Client, name string, arn *string) error {
	_, mutability := client.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{
		RepositoryName:     &name,
		ImageTagMutability: types.ImageTagMutabilityMutableWithExclusion,
		ImageTagMutabilityExclusionFilters: []types.ImageTagMutabilityExclusionFilter{
			{Filter: aws.String("release-*"), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard},
		},
	})
	_, scanning := client.PutImageScanningConfiguration(ctx, &ecr.PutImageScanningConfigurationInput{
		RepositoryName:             &name,
		ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: false},
	})
	_, untagging := client.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"team"}})
	_, tagging := client.TagResource(ctx, &ecr.TagResourceInput{
		ResourceArn: arn,
		Tags:        []types.Tag{{Key: aws.String("stage"), Value: aws.String("")}},
	})
	if err := errors.Join(mutability, scanning, untagging, tagging); err != nil {
		return err
	}
	found, err := find(ctx, client, name)
	if err != nil {
		return err
	}
	tags, err := tagsOf(ctx, client, arn)
	if err != nil {
		return err
	}
	value, tagged := tags["stage"]
	return check(
		same("mutability", found.ImageTagMutability, types.ImageTagMutabilityMutableWithExclusion),
		same("filters", len(found.ImageTagMutabilityExclusionFilters), 1),
		same("filter", *found.ImageTagMutabilityExclusionFilters[0].Filter, "release-*"),
		same("scanning", found.ImageScanningConfiguration.ScanOnPush, false),
		that(len(tags) == 1 && tagged && value == "", "its only tag is an empty one: %v", tags),
	)
}

// destroy deletes, waits until the repository is gone, and takes a second deletion for done.
func destroy(ctx context.Context, client *ecr.Client, name string) error {
	request := &ecr.DeleteRepositoryInput{RepositoryName: &name}
	if _, err := client.DeleteRepository(ctx, request); err != nil {
		return err
	}
	_, gone := find(ctx, client, name)
	_, again := client.DeleteRepository(ctx, request)
	return check(
		that(is[*types.RepositoryNotFoundException](gone), "it is gone: %v", gone),
		that(is[*types.RepositoryNotFoundException](again), "it cannot be deleted twice: %v", again),
	)
}

func repositoryErrors(ctx context.Context, made clients) error {
	name := "terraform/errors"
	if err := create(ctx, made.ecr, name); err != nil {
		return err
	}
	found, err := find(ctx, made.ecr, name)
	if err != nil {
		return err
	}
	exists := create(ctx, made.ecr, name)
	malformed := create(ctx, made.ecr, "Not/A/Name")
	reserved := []types.Tag{{Key: aws.String("aws:mine"), Value: aws.String("")}}
	_, tag := made.ecr.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: found.RepositoryArn, Tags: reserved})
	_, unknown := made.ecr.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{
		ResourceArn: aws.String(*found.RepositoryArn + "-else"),
	})
	_, elsewhere := made.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{
		RegistryId: aws.String("999999999999"), RepositoryNames: []string{name},
	})
	return check(
		that(is[*types.RepositoryAlreadyExistsException](exists), "it exists already: %v", exists),
		that(is[*types.InvalidParameterException](malformed), "this is no name: %v", malformed),
		that(is[*types.InvalidTagParameterException](tag), "this tag is AWS's: %v", tag),
		that(is[*types.RepositoryNotFoundException](unknown), "an ARN may name nothing: %v", unknown),
		that(codeOf(elsewhere) == "AccessDeniedException", "another account's are not ours: %v", elsewhere),
	)
}

func repositoriesAreData(ctx context.Context, made clients) error {
	wanted := []string{"terraform/data/a", "terraform/data/b", "terraform/data/c"}
	for _, name := range wanted {
		if err := create(ctx, made.ecr, name); err != nil {
			return err
		}
	}
	var found []string
	pages := ecr.NewDescribeRepositoriesPaginator(made.ecr, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, repository := range page.Repositories {
			found = append(found, *repository.RepositoryName)
		}
	}
	for _, name := range wanted {
		if !slices.Contains(found, name) {
			return fmt.Errorf("%s is missing in %v", name, found)
		}
	}
	return nil
}
