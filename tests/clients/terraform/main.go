// Makes the calls of Terraform's AWS provider with the SDK that it is built on, and checks the answers as it does.
//
//	terraform-calls list            the scenarios, one a line
//	terraform-calls run NAME        run one against the server that the environment names
//	terraform-calls call OPERATION  send an empty request and print what error the SDK makes of the answer
//
// A scenario that fails says why and ends with status 1.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const patience = 60 * time.Second

type clients struct {
	ecr *ecr.Client
	iam *iam.Client
	sts *sts.Client
}

var scenarios = map[string]func(context.Context, clients) error{
	"repository-lives":         repositoryLives,
	"repository-errors":        repositoryErrors,
	"images-are-data":          imagesAreData,
	"images-keep-a-repository": imagesKeepARepository,
	"repositories-are-data":    repositoriesAreData,
	"token-is-data":            tokenIsData,
	"account-is-known":         accountIsKnown,
	"policy-lives":             policyLives,
	"provider-changes":         providerChanges,
	"provider-lives":           providerLives,
	"role-changes":             roleChanges,
	"role-lives":               roleLives,
	"service-role-lives":       serviceRoleLives,
	"user-changes":             userChanges,
	"user-lives":               userLives,
	"wrong-key-is-told":        wrongKeyIsTold,
	"full-disk-is-told":        fullDiskIsTold,
	"throttling-is-retried":    throttlingIsRetried,
	"skew-is-corrected":        skewIsCorrected,
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 1 && arguments[0] == "list" {
		fmt.Println(strings.Join(slices.Sorted(maps.Keys(scenarios)), "\n"))
		return nil
	}
	if len(arguments) != 2 {
		return fmt.Errorf("usage: terraform-calls list | run NAME | call OPERATION")
	}
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	made := clients{ecr: ecr.NewFromConfig(loaded), iam: iam.NewFromConfig(loaded), sts: sts.NewFromConfig(loaded)}
	if arguments[0] == "call" {
		return call(ctx, made.ecr, arguments[1])
	}
	scenario, known := scenarios[arguments[1]]
	if !known {
		return fmt.Errorf("no scenario is called %s", arguments[1])
	}
	return scenario(ctx, made)
}

// check makes an error of the first demand that does not hold.
func check(demands ...demand) error {
	for _, each := range demands {
		if !each.holds {
			return fmt.Errorf("not so: %s", each.text)
		}
	}
	return nil
}

type demand struct {
	holds bool
	text  string
}

func that(holds bool, format string, values ...any) demand {
	return demand{holds: holds, text: fmt.Sprintf(format, values...)}
}

func same[T comparable](what string, found, wanted T) demand {
	return that(found == wanted, "%s is %v (it is %v)", what, wanted, found)
}
