// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// The policies below replace the SDK's: with its defaults and no metadata
// service, the first error came after 18 seconds. Here the first cause must
// stand on the console within 5 seconds; the unit's own restarts, with growing
// pauses, do the patient part.
const (
	// metadataAttempts with pauses that grow to pauseCap last about 3 seconds
	// when the address is refused or not routed yet, which is how long DHCP may
	// take after systemd-networkd has started.
	metadataAttempts = 12
	// serviceAttempts: a throttled or broken answer is worth two more requests.
	serviceAttempts = 3

	pauseFirst = 50 * time.Millisecond
	pauseCap   = 400 * time.Millisecond

	// dialTimeout: an endpoint in the region answers a SYN within a few
	// milliseconds, and Linux repeats a lost one after 1 s.
	dialTimeout = 1500 * time.Millisecond
	// answerTimeout: Secrets Manager and EC2 answer in well under a second.
	answerTimeout = 3 * time.Second
	// metadataTimeout: it is on the same machine, answers in a millisecond or
	// two, and is asked again: several times within askWithin.
	metadataTimeout = time.Second
)

// pause grows from pauseFirst to pauseCap; a random half of it keeps a fleet
// that boots at once from asking at once.
func pause(attempt int, _ error) (time.Duration, error) {
	full := pauseCap
	if attempt < 4 {
		full = min(pauseFirst<<max(attempt-1, 0), pauseCap)
	}
	return full/2 + rand.N(full/2+1), nil //nolint:gosec // jitter, not a secret
}

func retryer(attempts int) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.Backoff = retry.BackoffDelayerFunc(pause)
		// The bucket would stop retries across calls; the deadline does that.
		o.RateLimiter = ratelimit.None
	})
}

// dialer is how a connection is made: [net.Dialer.DialContext], or a test's own,
// which needs no network and no clock but the test's.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// httpClient is frozen, or the SDK would put timeouts of its own in place of
// these: the metadata client's are 250 ms to connect and 500 ms to answer.
func httpClient(dial dialer, answer time.Duration) aws.HTTPClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return dial(ctx, network, address)
		}
		// Neither metadata nor credentials may go through a proxy that
		// somebody has set in the environment.
		t.Proxy = nil
		t.TLSHandshakeTimeout = dialTimeout
		t.ResponseHeaderTimeout = answer
	}).Freeze()
}

// newMetadata speaks IMDSv2 only. An empty endpoint means the instance's own
// (or AWS_EC2_METADATA_SERVICE_ENDPOINT, which the SDK reads by itself).
func newMetadata(endpoint string, dial dialer) *imds.Client {
	return imds.New(imds.Options{
		Endpoint:          endpoint,
		ClientEnableState: imds.ClientEnabled,
		EnableFallback:    aws.FalseTernary,
		HTTPClient:        httpClient(dial, metadataTimeout),
		Retryer:           retryer(metadataAttempts),
		// It would put the SDK's own pauses in place of ours.
		DisableDefaultMaxBackoff: true,
	})
}

// impatient asks the metadata service as often as the other services are asked:
// it has answered before, and where it took its time to fail, the request that
// needs the credentials would be over first, and be taken for the culprit.
type impatient struct{ client *imds.Client }

// GetMetadata is the client's.
func (i impatient) GetMetadata(ctx context.Context, in *imds.GetMetadataInput, options ...func(*imds.Options)) (*imds.GetMetadataOutput, error) {
	return i.client.GetMetadata(ctx, in, append(options, func(o *imds.Options) { o.Retryer = retryer(serviceAttempts) })...)
}

// services are the regional clients; they exist once the region is known.
type services struct {
	secrets secrets
	ingress ingress
	tags    tags
}

// newServices makes clients with the credentials of the instance's role. An
// empty endpoint means AWS's own.
func newServices(metadata *imds.Client, region, endpoint string, dial dialer) services {
	config := aws.Config{
		Region:      region,
		HTTPClient:  httpClient(dial, answerTimeout),
		Retryer:     func() aws.Retryer { return retryer(serviceAttempts) },
		Credentials: aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = impatient{metadata} })),
	}
	if endpoint != "" {
		config.BaseEndpoint = aws.String(endpoint)
	}
	compute := ec2.NewFromConfig(config)
	return services{secrets: secretsmanager.NewFromConfig(config), ingress: compute, tags: compute}
}

// explain turns an error of the SDK into what a person needs of it: the
// service's own code and words, or why it was not reached.
func explain(err error) error {
	var api smithy.APIError
	var operation *net.OpError
	var status *smithyhttp.ResponseError
	switch {
	case err == nil:
		return nil
	case credentialsFailed(err):
		return fmt.Errorf("the metadata service gives no credentials: %s", whyNoCredentials(err))
	case errors.As(err, &api) && api.ErrorCode() != "" && api.ErrorCode() != "UnknownError":
		return fmt.Errorf("%s: %s", api.ErrorCode(), strings.TrimSpace(api.ErrorMessage()))
	case errors.As(err, &operation):
		return operation
	case errors.As(err, &status) && status.HTTPStatusCode() >= 300:
		return fmt.Errorf("answered with HTTP status %d", status.HTTPStatusCode())
	}
	// The metadata client hides what is below from errors.As.
	text := err.Error()
	if isTimeout(text) {
		return errors.New("no answer within the time given")
	}
	// What the SDK has done is its own; what came back, or did not, is the cause.
	if answered := hiddenStatus.FindStringSubmatch(text); answered != nil {
		return fmt.Errorf("answered with HTTP status %s", answered[1])
	}
	for _, inner := range []string{"request send failed, ", "deserialization failed, ", "getToken, "} {
		if _, last, cut := strings.Cut(text, inner); cut {
			if inner != "request send failed, " {
				last = "its answer cannot be read: " + last
			}
			return errors.New(last)
		}
	}
	if _, last, cut := strings.Cut(text, "exceeded maximum number of attempts, "); cut {
		return errors.New("after attempts: " + last)
	}
	return err
}

// hiddenStatus finds the status of an answer in what the metadata client says.
var hiddenStatus = regexp.MustCompile(`http response error StatusCode: ([3-5]\d\d)`)

// httpStatus is the status of the answer that became err, or 0.
func httpStatus(err error) int {
	var status *smithyhttp.ResponseError
	if errors.As(err, &status) {
		return status.HTTPStatusCode()
	}
	return 0
}

// credentialsFailed tells whether the role's credentials were not to be had:
// the SDK gives that error no type of its own.
func credentialsFailed(err error) bool {
	return strings.Contains(err.Error(), credentialsWords)
}

const credentialsWords = "get credentials: "

func whyNoCredentials(err error) string {
	_, text, _ := strings.Cut(err.Error(), credentialsWords)
	answered := hiddenStatus.FindStringSubmatch(text)
	switch {
	case httpStatus(err) == http.StatusNotFound:
		return "the instance has no role"
	case answered != nil:
		return "it answered with HTTP status " + answered[1]
	case isTimeout(text):
		return "no answer within the time given"
	default:
		return strings.TrimPrefix(text, "failed to refresh cached credentials, ")
	}
}

func isTimeout(text string) bool {
	return strings.Contains(text, context.DeadlineExceeded.Error()) || strings.Contains(text, "timeout awaiting response headers")
}
