// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package mototest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/moto"
)

// Keys are the access key of a user.
type Keys struct{ ID, Secret string }

// anybody is whom moto lets do everything until it enforces IAM.
func anybody() Keys { return Keys{"test", "test"} }

// Environment is that of a program which is to be that user.
func (k Keys) Environment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + k.ID, "AWS_SECRET_ACCESS_KEY=" + k.Secret}
}

// IAM is a client of that moto, as that user.
func IAM(endpoint string, as Keys) *iam.Client {
	return iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: as.provider()})
}

func (k Keys) provider() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(k.ID, k.Secret, "")
}

// EnforceIAM has that moto judge every call from now on by the policies of whoever
// makes it, and returns a user who may do everything.
func EnforceIAM(t testing.TB, endpoint string) Keys {
	t.Helper()
	operator := User(t, IAM(endpoint, anybody()), "operator", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`)
	if err := moto.EnforceIAM(t.Context(), http.DefaultClient, endpoint); err != nil {
		t.Fatal(err)
	}
	return operator
}

// User makes a user who has that policy and nothing else.
func User(t testing.TB, client *iam.Client, name, policy string) Keys {
	t.Helper()
	if _, err := client.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("all"), PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	return Key(t, client, name)
}

// Key makes a user's access key.
func Key(t testing.TB, client *iam.Client, name string) Keys {
	t.Helper()
	made, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return Keys{aws.ToString(made.AccessKey.AccessKeyId), aws.ToString(made.AccessKey.SecretAccessKey)}
}

// document is an IAM policy as far as it is taken apart here.
type document struct {
	Version   string
	Statement []map[string]any
}

func parse(t testing.TB, policy string) document {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(policy), &d); err != nil {
		t.Fatalf("reading a policy: %v", err)
	}
	return d
}

// actions are those of one statement.
func actions(statement map[string]any) []any {
	if several, ok := statement["Action"].([]any); ok {
		return several
	}
	return []any{statement["Action"]}
}

// Actions are what a policy allows, an action of two statements twice.
func Actions(t testing.TB, policy string) []string {
	t.Helper()
	var all []string
	for _, statement := range parse(t, policy).Statement {
		for _, action := range actions(statement) {
			all = append(all, action.(string)) //nolint:forcetypeassert // of a policy of ours
		}
	}
	return all
}

// Without makes of a policy, for each action that it allows, the one that lacks it. An
// action that two statements allow has no such policy here.
func Without(t testing.TB, policy string) map[string]string {
	t.Helper()
	all, whole := map[string]string{}, parse(t, policy)
	for i, statement := range whole.Statement {
		for k, action := range actions(statement) {
			name := action.(string) //nolint:forcetypeassert // of a policy of ours
			if _, twice := all[name]; twice {
				t.Fatalf("two statements allow %s", name)
			}
			less := document{Version: whole.Version, Statement: slices.Clone(whole.Statement)}
			if rest := slices.Delete(slices.Clone(actions(statement)), k, k+1); len(rest) > 0 {
				part := maps.Clone(statement)
				part["Action"] = rest
				less.Statement[i] = part
			} else {
				less.Statement = slices.Delete(less.Statement, i, i+1)
			}
			data, err := json.Marshal(less)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(data)
		}
	}
	return all
}
