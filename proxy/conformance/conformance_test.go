// Package conformance runs the official Gateway API conformance suite against any API server and
// GatewayClass. README.md says how.
package conformance

import (
	"context"
	"flag"
	"os"
	"regexp"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
	"sigs.k8s.io/yaml"
)

var (
	controller = flag.String("controller", "gwtop.dev/gwproxy",
		"controllerName of the GatewayClass, which is made if it is missing")
	only            = flag.String("only", "", "run the tests whose whole name this `expression` matches, whatever is supported")
	gatewayFeatures = flag.Bool("gateway-features", false,
		"test every feature of Gateways, whatever status.supportedFeatures of the GatewayClass says")
)

var profiles = []suite.ConformanceProfile{
	suite.GatewayHTTPConformanceProfile, suite.GatewayGRPCConformanceProfile, suite.GatewayTLSConformanceProfile,
	suite.GatewayTCPConformanceProfile, suite.GatewayUDPConformanceProfile,
}

// TestConformance takes the flags of the official suite. Without -conformance-profiles it runs
// all five for Gateways.
func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	if len(options.ConformanceProfiles) == 0 {
		for _, profile := range profiles {
			options.ConformanceProfiles = append(options.ConformanceProfiles, profile.Name)
		}
	}
	if options.Implementation.Validate() != nil {
		options.Implementation = confv1.Implementation{
			Organization: "gwtop", Project: "gwproxy", URL: "https://gwtop.dev", Version: "v0.1.0",
			Contact: []string{"https://gwtop.dev"},
		}
	}
	if *gatewayFeatures {
		options.SupportedFeatures = everyGatewayFeature()
	}
	tests.ConformanceTests = selected(t, *only)
	if *only != "" {
		options.SupportedFeatures = everyGatewayFeature()
	}
	class := &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: options.GatewayClassName},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: gatewayv1.GatewayController(*controller)},
	}
	if err := options.Client.Create(context.Background(), class); !errors.IsAlreadyExists(err) {
		require.NoError(t, err, "cannot make GatewayClass %s", class.Name)
	}
	// An API server that serves the kinds without CRDs has no version to compare.
	crds := &apiextensionsv1.CustomResourceDefinitionList{}
	require.NoError(t, options.Client.List(context.Background(), crds))
	if !slices.ContainsFunc(crds.Items, func(crd apiextensionsv1.CustomResourceDefinition) bool {
		return crd.Spec.Group == gatewayv1.GroupName
	}) {
		options.AllowCRDsMismatch = true
	}
	// The features are read before the suite waits for this.
	kubernetes.GWCMustHaveAcceptedConditionTrue(t, options.Client, config.DefaultTimeoutConfig(), class.Name)
	// The suite counts a test that runs in parallel as passed before it has run.
	for i := range tests.ConformanceTests {
		tests.ConformanceTests[i].Parallel = false
	}
	conformance.RunConformanceWithOptions(t, options)
	if options.ReportOutputPath != "" {
		require.NoError(t, sortProfiles(options.ReportOutputPath))
	}
}

// selected leaves out the tests of meshes, and those whose names do not match.
func selected(t *testing.T, expression string) []suite.ConformanceTest {
	name, err := regexp.Compile("^(" + expression + ")$")
	require.NoError(t, err, "-only")
	tests := slices.DeleteFunc(tests.ConformanceTests, func(test suite.ConformanceTest) bool {
		return slices.Contains(test.Features, features.SupportMesh) || expression != "" && !name.MatchString(test.ShortName)
	})
	require.NotEmpty(t, tests, "the suite has no test %s", expression)
	return tests
}

func everyGatewayFeature() []features.FeatureName {
	mesh := features.MeshCoreFeatures.Union(features.MeshExtendedFeatures)
	var names []features.FeatureName
	for feature := range features.AllFeatures {
		if !mesh.Has(feature) {
			names = append(names, feature.Name)
		}
	}
	return names
}

// sortProfiles makes two reports of the same results the same: the suite writes profiles in any
// order.
func sortProfiles(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var report confv1.ConformanceReport
	if err := yaml.Unmarshal(text, &report); err != nil {
		return err
	}
	sort.Slice(report.ProfileReports, func(i, j int) bool {
		return report.ProfileReports[i].Name < report.ProfileReports[j].Name
	})
	if text, err = yaml.Marshal(report); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
