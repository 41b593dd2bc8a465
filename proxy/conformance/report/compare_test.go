package main

import (
	"slices"
	"testing"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
)

func report(change func(*confv1.ProfileReport)) *confv1.ConformanceReport {
	profile := confv1.ProfileReport{Name: "GATEWAY-HTTP", Extended: &confv1.ExtendedStatus{}}
	profile.Core.Passed = 37
	profile.Extended.Passed = 2
	profile.Extended.SupportedFeatures = []string{"HTTPRouteCORS", "HTTPRouteRetry"}
	change(&profile)
	return &confv1.ConformanceReport{ProfileReports: []confv1.ProfileReport{profile}}
}

func TestWhatIsLostIsNamed(t *testing.T) {
	same := func(*confv1.ProfileReport) {}
	for name, test := range map[string]struct {
		change func(*confv1.ProfileReport)
		want   []string
	}{
		"nothing": {same, nil},
		"a core test": {
			func(p *confv1.ProfileReport) { p.Core.Passed, p.Core.FailedTests = 36, []string{"HTTPRouteWeight"} },
			[]string{"GATEWAY-HTTP: core test HTTPRouteWeight failed", "GATEWAY-HTTP: 36 core tests passed, before 37"},
		},
		"a feature": {
			func(p *confv1.ProfileReport) { p.Extended.SupportedFeatures = []string{"HTTPRouteCORS"} },
			[]string{"GATEWAY-HTTP: HTTPRouteRetry is not supported any more"},
		},
		"an extended test": {
			func(p *confv1.ProfileReport) {
				p.Extended.Passed, p.Extended.FailedTests = 1, []string{"HTTPRouteCORS"}
			},
			[]string{
				"GATEWAY-HTTP: extended test HTTPRouteCORS failed, and did not before",
				"GATEWAY-HTTP: 1 extended tests passed, before 2",
			},
		},
		"the profile": {
			func(p *confv1.ProfileReport) { p.Name = "GATEWAY-GRPC" },
			[]string{"GATEWAY-HTTP: the profile was not run"},
		},
	} {
		if got := compare(report(same), report(test.change)); !slices.Equal(got, test.want) {
			t.Errorf("%s lost: got %q, want %q", name, got, test.want)
		}
	}
	if got := compare(&confv1.ConformanceReport{}, report(same)); len(got) > 0 {
		t.Errorf("the first report: got %q", got)
	}
	if got := compare(report(same), &confv1.ConformanceReport{}); len(got) != 2 {
		t.Errorf("an empty report: got %q", got)
	}
}
