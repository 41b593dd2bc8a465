// The report command reads reports of the conformance suite.
//
//	report table REPORT           prints the features of every profile as Markdown
//	report compare OLD NEW        fails if NEW fails in core or has lost anything that OLD has
package main

import (
	"fmt"
	"os"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	problems, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(2)
	}
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

func run(args []string) ([]string, error) {
	var reports []*confv1.ConformanceReport
	for _, path := range args[min(1, len(args)):] {
		report, err := read(path)
		if err != nil {
			return nil, err
		}
		reports = append(reports, report)
	}
	switch {
	case len(args) == 2 && args[0] == "table":
		fmt.Print(table(reports[0]))
		return nil, nil
	case len(args) == 3 && args[0] == "compare":
		return compare(reports[0], reports[1]), nil
	default:
		return nil, fmt.Errorf("usage: report table REPORT | report compare OLD NEW")
	}
}

// read takes a file that is not there for a report of nothing.
func read(path string) (*confv1.ConformanceReport, error) {
	report := &confv1.ConformanceReport{}
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return report, nil
	}
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(text, report); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return report, nil
}
