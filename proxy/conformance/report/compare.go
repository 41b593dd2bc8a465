package main

import (
	"fmt"
	"slices"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
)

// compare lists what is wrong with new: failed core tests, and what old has and new has not.
func compare(old, new *confv1.ConformanceReport) []string {
	var problems []string
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if len(new.ProfileReports) == 0 {
		say("the new report has no profile")
	}
	for _, profile := range new.ProfileReports {
		for _, test := range profile.Core.FailedTests {
			say("%s: core test %s failed", profile.Name, test)
		}
	}
	for _, before := range old.ProfileReports {
		at := slices.IndexFunc(new.ProfileReports, func(p confv1.ProfileReport) bool { return p.Name == before.Name })
		if at < 0 {
			say("%s: the profile was not run", before.Name)
			continue
		}
		after := new.ProfileReports[at]
		if after.Core.Passed < before.Core.Passed {
			say("%s: %d core tests passed, before %d", before.Name, after.Core.Passed, before.Core.Passed)
		}
		if before.Extended == nil {
			continue
		}
		if after.Extended == nil {
			say("%s: no extended test was run", before.Name)
			continue
		}
		for _, feature := range before.Extended.SupportedFeatures {
			if !slices.Contains(after.Extended.SupportedFeatures, feature) {
				say("%s: %s is not supported any more", before.Name, feature)
			}
		}
		for _, test := range after.Extended.FailedTests {
			if !slices.Contains(before.Extended.FailedTests, test) {
				say("%s: extended test %s failed, and did not before", before.Name, test)
			}
		}
		if after.Extended.Passed < before.Extended.Passed {
			say("%s: %d extended tests passed, before %d", before.Name, after.Extended.Passed, before.Extended.Passed)
		}
	}
	return problems
}
