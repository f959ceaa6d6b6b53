// What the SDK makes of refusals: types, request ids, and which of them it tries again.
package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// codeOf gives the code of an error that has no type of its own, or nothing.
func codeOf(err error) string {
	var told smithy.APIError
	if errors.As(err, &told) {
		return told.ErrorCode()
	}
	return ""
}

// call sends an empty request, which the SDK itself would refuse, and prints what became of it in one line.
func call(ctx context.Context, client *ecr.Client, operation string) error {
	method := reflect.ValueOf(client).MethodByName(operation)
	if !method.IsValid() {
		return fmt.Errorf("the SDK has no operation %s", operation)
	}
	uncheck := ecr.WithAPIOptions(func(stack *middleware.Stack) error {
		if _, there := stack.Initialize.Get("OperationInputValidation"); !there {
			return nil
		}
		_, err := stack.Initialize.Remove("OperationInputValidation")
		return err
	})
	answer := method.Call([]reflect.Value{
		reflect.ValueOf(ctx), reflect.New(method.Type().In(1).Elem()), reflect.ValueOf(uncheck),
	})
	err, _ := answer[1].Interface().(error)
	var told smithy.APIError
	var response *awshttp.ResponseError
	if !errors.As(err, &told) || !errors.As(err, &response) {
		return fmt.Errorf("%s was answered by no error of the service: %w", operation, err)
	}
	fmt.Printf("%d %s: %s\n", response.HTTPStatusCode(), told.ErrorCode(), told.ErrorMessage())
	return check(
		that(response.ServiceRequestID() != "", "the answer has a request id"),
		that(!is[*retry.MaxAttemptsError](err), "it was not tried again"),
	)
}

func wrongKeyIsTold(ctx context.Context, made clients) error {
	request := &ecr.DescribeRepositoriesInput{}
	key, err := made.ecr.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	codes := map[string]aws.CredentialsProvider{
		"InvalidSignatureException":   credentials.NewStaticCredentialsProvider(key.AccessKeyID, "wrong", ""),
		"UnrecognizedClientException": credentials.NewStaticCredentialsProvider("AKIANOBODYHASTHISONE", "wrong", ""),
	}
	for code, provider := range codes {
		_, err := made.ecr.DescribeRepositories(ctx, request, func(options *ecr.Options) {
			options.Credentials = provider
		})
		if codeOf(err) != code || is[*retry.MaxAttemptsError](err) {
			return fmt.Errorf("%s was not told at once, but %w", code, err)
		}
	}
	return nil
}

// fullDiskIsTold runs against a server whose disk has no room for pushes.
func fullDiskIsTold(ctx context.Context, made clients) error {
	name := "terraform/full"
	if err := create(ctx, made.ecr, name); err != nil {
		return err
	}
	err := upload(ctx, made.ecr, name, []byte("a layer"))
	var given *retry.MaxAttemptsError
	if !is[*types.ServerException](err) || !errors.As(err, &given) {
		return fmt.Errorf("a full disk is an exception of the server's, tried again in vain: %w", err)
	}
	fmt.Println(err)
	_, err = made.ecr.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &name})
	return err
}

// told says on standard output which failures are about to be tried again.
type told struct{ aws.RetryerV2 }

func (each told) RetryDelay(attempt int, err error) (time.Duration, error) {
	fmt.Println(codeOf(err))
	return each.RetryerV2.RetryDelay(attempt, err)
}

// throttlingIsRetried runs against a server that is too busy until the first failure has been told.
func throttlingIsRetried(ctx context.Context, made clients) error {
	name := "terraform/throttled"
	if err := create(ctx, made.ecr, name); err != nil {
		return err
	}
	options := made.ecr.Options()
	options.Retryer = told{RetryerV2: retry.NewStandard()}
	return upload(ctx, ecr.New(options), name, make([]byte, 1<<20))
}

// skewIsCorrected runs against a server whose clock is far from this machine's.
func skewIsCorrected(ctx context.Context, made clients) error {
	for _, wanted := range []int{2, 1} {
		answer, err := made.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
		if err != nil {
			return err
		}
		results, _ := retry.GetAttemptResults(answer.ResultMetadata)
		if err := check(same("number of attempts", len(results.Results), wanted)); err != nil {
			return err
		}
	}
	_, err := made.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{}, func(options *ecr.Options) {
		options.Retryer = aws.NopRetryer{}
	})
	return err
}
