package main

import (
	"fmt"
	"slices"
	"strings"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// table shows what a report says of every profile and feature, in Markdown.
func table(report *confv1.ConformanceReport) string {
	out := &strings.Builder{}
	fmt.Fprintf(out, "# Gateway API conformance of %s %s\n\n", report.Project, report.Version)
	fmt.Fprintf(out, "Suite %s, mode %s; CRDs in the API: %s, channel %s. Made from report.yaml by `proxy/conformance/run.sh --write`.\n\n",
		consts.BundleVersion, report.Mode, report.GatewayAPIVersion, report.GatewayAPIChannel)

	fmt.Fprint(out, "| profile | core passed | core failed | extended passed | extended failed | extended features supported | not supported |\n")
	fmt.Fprint(out, "|---|---:|---:|---:|---:|---:|---|\n")
	for _, profile := range report.ProfileReports {
		extended := profile.Extended
		if extended == nil {
			extended = &confv1.ExtendedStatus{}
		}
		all := len(extended.SupportedFeatures) + len(extended.UnsupportedFeatures)
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d | %d of %d | %s |\n", profile.Name, profile.Core.Passed, profile.Core.Failed,
			extended.Passed, extended.Failed, len(extended.SupportedFeatures), all, list(extended.UnsupportedFeatures))
	}

	fmt.Fprint(out, "\n## Extended features\n\n| feature | channel | tests | result |\n|---|---|---|---|\n")
	for _, name := range extendedFeatures(report) {
		feature := features.GetFeature(features.FeatureName(name))
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", name, feature.Channel, list(testsOf(name)), result(report, name))
	}

	var failed []string
	for _, profile := range report.ProfileReports {
		failed = append(failed, profile.Core.FailedTests...)
		if profile.Extended != nil {
			failed = append(failed, profile.Extended.FailedTests...)
		}
	}
	if len(failed) > 0 {
		slices.Sort(failed)
		fmt.Fprintf(out, "\n## Failed tests\n\n%s\n", list(slices.Compact(failed)))
	}
	return out.String()
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func extendedFeatures(report *confv1.ConformanceReport) []string {
	var names []string
	for _, profile := range report.ProfileReports {
		if profile.Extended != nil {
			names = append(names, profile.Extended.SupportedFeatures...)
			names = append(names, profile.Extended.UnsupportedFeatures...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// testsOf are the suite's tests that need the feature.
func testsOf(feature string) []string {
	var names []string
	for _, test := range tests.ConformanceTests {
		if slices.Contains(test.Features, features.FeatureName(feature)) && !slices.Contains(test.Features, features.SupportMesh) {
			names = append(names, test.ShortName)
		}
	}
	slices.Sort(names)
	return names
}

func result(report *confv1.ConformanceReport, feature string) string {
	var supported bool
	for _, profile := range report.ProfileReports {
		if profile.Extended == nil {
			continue
		}
		supported = supported || slices.Contains(profile.Extended.SupportedFeatures, feature)
		for _, test := range testsOf(feature) {
			if slices.Contains(profile.Extended.FailedTests, test) {
				return "**failed**"
			}
		}
	}
	switch {
	case !supported:
		return "not supported"
	case !slices.ContainsFunc(testsOf(feature), func(name string) bool { return runs(report, name) }):
		return "supported, the suite has no test of it"
	default:
		return "passed"
	}
}

// runs tells whether a profile of the report has all features of the test.
func runs(report *confv1.ConformanceReport, name string) bool {
	at := slices.IndexFunc(tests.ConformanceTests, func(test suite.ConformanceTest) bool { return test.ShortName == name })
	for _, profile := range report.ProfileReports {
		has := func(feature features.FeatureName) bool {
			core := coreOf(profile.Name)
			return slices.Contains(core, feature) ||
				profile.Extended != nil && slices.Contains(profile.Extended.SupportedFeatures, string(feature))
		}
		if !slices.ContainsFunc(tests.ConformanceTests[at].Features, func(feature features.FeatureName) bool { return !has(feature) }) {
			return true
		}
	}
	return false
}

func coreOf(profile string) []features.FeatureName {
	for _, known := range []suite.ConformanceProfile{
		suite.GatewayHTTPConformanceProfile, suite.GatewayGRPCConformanceProfile, suite.GatewayTLSConformanceProfile,
		suite.GatewayTCPConformanceProfile, suite.GatewayUDPConformanceProfile,
	} {
		if string(known.Name) == profile {
			return known.CoreFeatures.UnsortedList()
		}
	}
	return nil
}
