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
	return iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: as.Provider()})
}

// Provider is for a client that is to be that user.
func (k Keys) Provider() aws.CredentialsProvider {
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

// Less is a policy without one action of one of its statements.
type Less struct{ Sid, Action, Policy string }

// Each takes every action of every statement away in turn.
func Each(t testing.TB, policy string) []Less {
	t.Helper()
	var all []Less
	whole := parse(t, policy)
	for i, statement := range whole.Statement {
		for k, action := range actions(statement) {
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
			sid, _ := statement["Sid"].(string)
			all = append(all, Less{sid, action.(string), string(data)}) //nolint:forcetypeassert // of a policy of ours
		}
	}
	return all
}

// Without is [Each] by action, of a policy that allows none in two statements.
func Without(t testing.TB, policy string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, less := range Each(t, policy) {
		if _, twice := all[less.Action]; twice {
			t.Fatalf("two statements allow %s", less.Action)
		}
		all[less.Action] = less.Policy
	}
	return all
}

// Right names what was taken away.
func (l Less) Right() string { return l.Sid + "/" + l.Action }

// CheckTable fails where a policy allows what no row of a table is about, or a row is
// about what the policy does not allow; and says in the open what is not tested, and
// why.
func CheckTable(t testing.TB, policy string, rows []string, not map[string]string) {
	t.Helper()
	var rights []string
	for _, less := range Each(t, policy) {
		right := less.Right()
		rights = append(rights, right)
		switch reason, without := not[right]; {
		case without:
			t.Logf("NOT TESTED: without %s: %s", right, reason)
		case !slices.Contains(rows, right):
			t.Errorf("%s is allowed, and it is not known which step needs it", right)
		}
	}
	for _, row := range rows {
		if !slices.Contains(rights, row) {
			t.Errorf("%s is said to be needed, and is not allowed", row)
		}
	}
}
