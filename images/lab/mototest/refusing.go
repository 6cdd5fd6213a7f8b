// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package mototest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"
)

// Refusing passes every call to moto but EC2's of that action, which it refuses with
// that code: moto has room for any number of instances.
func Refusing(t testing.TB, moto, action, code string) string {
	t.Helper()
	// 4xx: what is 5xx is asked again for minutes.
	return answering(t, moto, action, http.StatusBadRequest,
		fmt.Sprintf(`<Response><Errors><Error><Code>%s</Code><Message>refused by the test</Message></Error></Errors><RequestID>1</RequestID></Response>`, code))
}

// Failing passes every call to moto, but has Auto Scaling say that it could not launch a
// machine, and why: moto tells of no activities.
func Failing(t testing.TB, moto, why string) string {
	t.Helper()
	began := time.Now().Add(time.Hour).UTC().Format(time.RFC3339) // after the group was made
	return answering(t, moto, "DescribeScalingActivities", http.StatusOK,
		fmt.Sprintf(`<DescribeScalingActivitiesResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><DescribeScalingActivitiesResult><Activities><member>`+
			`<ActivityId>1</ActivityId><AutoScalingGroupName>one</AutoScalingGroupName><Cause>at the group's making</Cause><StartTime>%s</StartTime>`+
			`<StatusCode>Failed</StatusCode><StatusMessage>%s</StatusMessage><Progress>100</Progress>`+
			`</member></Activities></DescribeScalingActivitiesResult></DescribeScalingActivitiesResponse>`, began, why))
}

// answering passes every call to moto but those of that action.
func answering(t testing.TB, moto, action string, status int, answer string) string {
	t.Helper()
	target, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte("Action="+action+"&")) {
			proxy.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
