// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"sync"
)

// deprecating passes everything to moto but EnableImageDeprecation and
// DisableImageDeprecation, which moto does not have, and puts what they said into
// its answers.
func deprecating(moto *url.URL) http.Handler {
	var lock sync.Mutex
	days := map[string]string{}
	proxy := httputil.NewSingleHostReverseProxy(moto)
	id := regexp.MustCompile(`<imageId>(ami-[0-9a-z]+)</imageId>`)
	proxy.ModifyResponse = func(r *http.Response) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		lock.Lock()
		defer lock.Unlock()
		if bytes.Contains(body, []byte("<DescribeImagesResponse")) {
			body = id.ReplaceAllFunc(body, func(m []byte) []byte {
				if day := days[string(id.FindSubmatch(m)[1])]; day != "" {
					return fmt.Appendf(bytes.Clone(m), "<deprecationTime>%s</deprecationTime>", day)
				}
				return m
			})
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		action := form.Get("Action")
		if action != "EnableImageDeprecation" && action != "DisableImageDeprecation" {
			proxy.ServeHTTP(w, r)
			return
		}
		lock.Lock()
		days[form.Get("ImageId")] = form.Get("DeprecateAt")
		lock.Unlock()
		fmt.Fprintf(w, `<%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><return>true</return></%sResponse>`, action, action)
	})
}
