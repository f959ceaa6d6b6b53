// The data sources aws_ecr_image and aws_ecr_images, and what images mean for the deletion of their repository.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func digestOf(content []byte) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(content))
}

func upload(ctx context.Context, client *ecr.Client, repository string, content []byte) error {
	begun, err := client.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: &repository})
	if err != nil {
		return err
	}
	_, err = client.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
		RepositoryName: &repository,
		UploadId:       begun.UploadId,
		PartFirstByte:  aws.Int64(0),
		PartLastByte:   aws.Int64(int64(len(content)) - 1),
		LayerPartBlob:  content,
	})
	if err != nil {
		return err
	}
	_, err = client.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{
		RepositoryName: &repository, UploadId: begun.UploadId, LayerDigests: []string{digestOf(content)},
	})
	if is[*types.LayerAlreadyExistsException](err) {
		return nil
	}
	return err
}

// push stores an image of one layer under a tag and gives its digest.
func push(ctx context.Context, client *ecr.Client, repository, tag string) (string, error) {
	configuration := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	layer := []byte("the layer of " + tag)
	for _, content := range [][]byte{configuration, layer} {
		if err := upload(ctx, client, repository, content); err != nil {
			return "", err
		}
	}
	manifest := fmt.Sprintf(
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},`+
			`"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		manifestType,
		"application/vnd.oci.image.config.v1+json", digestOf(configuration), len(configuration),
		"application/vnd.oci.image.layer.v1.tar", digestOf(layer), len(layer),
	)
	answer, err := client.PutImage(ctx, &ecr.PutImageInput{
		RepositoryName: &repository, ImageManifest: &manifest, ImageTag: &tag,
	})
	if err != nil {
		return "", err
	}
	return *answer.Image.ImageId.ImageDigest, nil
}

// describe reads images by any of their names, or all of them.
func describe(ctx context.Context, client *ecr.Client, repository string, ids ...types.ImageIdentifier) (
	[]types.ImageDetail, error,
) {
	var found []types.ImageDetail
	pages := ecr.NewDescribeImagesPaginator(client, &ecr.DescribeImagesInput{
		RepositoryName: &repository, ImageIds: ids,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, page.ImageDetails...)
	}
	return found, nil
}

func imagesAreData(ctx context.Context, made clients) error {
	name := "terraform/images"
	if err := create(ctx, made.ecr, name); err != nil {
		return err
	}
	first, one := push(ctx, made.ecr, name, "first")
	second, two := push(ctx, made.ecr, name, "second")
	if err := errors.Join(one, two); err != nil {
		return err
	}
	all, err := describe(ctx, made.ecr, name)
	if err != nil || len(all) != 2 {
		return fmt.Errorf("two images were pushed, not %v (%w)", all, err)
	}
	latest := slices.MaxFunc(all, func(a, b types.ImageDetail) int { return a.ImagePushedAt.Compare(*b.ImagePushedAt) })
	tagged, byTag := describe(ctx, made.ecr, name, types.ImageIdentifier{ImageTag: aws.String("first")})
	named, byDigest := describe(ctx, made.ecr, name, types.ImageIdentifier{ImageDigest: &second})
	if err := errors.Join(byTag, byDigest); err != nil {
		return err
	}
	_, absent := describe(ctx, made.ecr, name, types.ImageIdentifier{ImageTag: aws.String("third")})
	_, nowhere := describe(ctx, made.ecr, name+"/none")
	listed, err := list(ctx, made.ecr, name)
	return errors.Join(err, check(
		same("most recent", *latest.ImageDigest, second),
		same("found by tag", *tagged[0].ImageDigest, first),
		same("tag found by digest", named[0].ImageTags[0], "second"),
		same("type", *named[0].ImageManifestMediaType, manifestType),
		that(*named[0].ImageSizeInBytes > 0, "an image has a size"),
		that(is[*types.ImageNotFoundException](absent), "a tag may be absent: %v", absent),
		that(is[*types.RepositoryNotFoundException](nowhere), "so may a repository: %v", nowhere),
		that(slices.Equal(listed, []string{"first", "second"}), "tagged images are listed: %v", listed),
	))
}

// list gives the tags of the tagged images, read in pages of one.
func list(ctx context.Context, client *ecr.Client, repository string) ([]string, error) {
	var found []string
	pages := ecr.NewListImagesPaginator(client, &ecr.ListImagesInput{
		RepositoryName: &repository,
		Filter:         &types.ListImagesFilter{TagStatus: types.TagStatusTagged},
		MaxResults:     aws.Int32(1),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, id := range page.ImageIds {
			found = append(found, *id.ImageTag)
		}
	}
	slices.Sort(found)
	return found, nil
}

func imagesKeepARepository(ctx context.Context, made clients) error {
	name := "terraform/kept"
	if err := create(ctx, made.ecr, name); err != nil {
		return err
	}
	if _, err := push(ctx, made.ecr, name, "v1"); err != nil {
		return err
	}
	_, kept := made.ecr.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &name})
	if !is[*types.RepositoryNotEmptyException](kept) {
		return fmt.Errorf("a repository with an image was deleted: %w", kept)
	}
	_, err := made.ecr.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &name, Force: true})
	if err != nil {
		return err
	}
	_, gone := find(ctx, made.ecr, name)
	return check(that(is[*types.RepositoryNotFoundException](gone), "force deletes it: %v", gone))
}
