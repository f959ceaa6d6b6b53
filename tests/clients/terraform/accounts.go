// What the provider learns about the account, and the data source aws_ecr_authorization_token.
package main

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func tokenIsData(ctx context.Context, made clients) error {
	caller, err := made.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	for _, request := range []*ecr.GetAuthorizationTokenInput{{}, {RegistryIds: []string{*caller.Account}}} {
		answer, err := made.ecr.GetAuthorizationToken(ctx, request)
		if err != nil {
			return err
		}
		data := answer.AuthorizationData[0]
		decoded, err := base64.StdEncoding.DecodeString(*data.AuthorizationToken)
		if err != nil {
			return err
		}
		user, password, _ := strings.Cut(string(decoded), ":")
		lifetime := time.Until(*data.ExpiresAt)
		err = check(
			same("user", user, "AWS"),
			that(password != "", "there is a password"),
			that(11*time.Hour < lifetime && lifetime <= 12*time.Hour, "it lives %v", lifetime),
			that(strings.HasPrefix(*data.ProxyEndpoint, "http"), "%s is a URL", *data.ProxyEndpoint),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func accountIsKnown(ctx context.Context, made clients) error {
	caller, err := made.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	name := aws.String("BLOB_MOUNTING")
	put, err := made.ecr.PutAccountSetting(ctx, &ecr.PutAccountSettingInput{Name: name, Value: aws.String("ENABLED")})
	if err != nil {
		return err
	}
	got, err := made.ecr.GetAccountSetting(ctx, &ecr.GetAccountSettingInput{Name: name})
	if err != nil {
		return err
	}
	_, wrong := made.ecr.PutAccountSetting(ctx, &ecr.PutAccountSettingInput{Name: name, Value: aws.String("MAYBE")})
	return check(
		same("account", len(*caller.Account), 12),
		same("ARN", *caller.Arn, "arn:aws:iam::"+*caller.Account+":root"),
		same("setting that was put", *put.Value, "ENABLED"),
		same("setting that is kept", *got.Value, "ENABLED"),
		that(is[*types.InvalidParameterException](wrong), "not every value will do: %v", wrong),
	)
}
