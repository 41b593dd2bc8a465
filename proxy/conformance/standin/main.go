// The standin command plays the parts of a cluster that the conformance suite needs and that a
// bare API server does not have: it turns Deployments into Pods that really answer, Pods into
// EndpointSlices, and serves the Pods' logs as a kubelet does.
//
// Every Pod has an address of its own out of --pool. Its containers are echo-basic processes (the
// suite's own server) or, for a CoreDNS image, a resolver of this process.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func run() error {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "the `file` that names the API server")
	pool := flag.String("pool", "127.0.80.0/20", "addresses for Pods, as a `CIDR`; this host has to own them")
	echo := flag.String("echo", "", "the echo-basic `program`: go build sigs.k8s.io/gateway-api/conformance/echo-basic")
	files := flag.String("files", "", "where to keep volumes and logs of Pods [default: a new temporary `folder`]")
	kubelet := flag.String("kubelet", "tcp:127.0.0.1:0", "where to serve logs over HTTPS: `tcp:address:port` or unix:path")
	advertise := flag.String("kubelet-advertise", "", "where the API server finds it, as `address:port`, if that is elsewhere")
	node := flag.String("node", "standin", "the `name` of the Node that the Pods are on")
	namespaces := flag.Bool("finalize-namespaces", false,
		"empty and finalize deleted namespaces, for an API server without a controller manager")
	flag.Parse()

	if *echo == "" {
		return fmt.Errorf("--echo names no program")
	}
	prefix, err := netip.ParsePrefix(*pool)
	if err != nil {
		return fmt.Errorf("--pool: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 200, 400
	config.ContentType = "application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	dir := *files
	if dir == "" {
		if dir, err = os.MkdirTemp("", "standin-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cluster := newCluster(client, *node, newAddresses(prefix), newProcesses(*echo), dir)
	defer cluster.stop()
	if err := serveKubelet(ctx, cluster, *kubelet, *advertise); err != nil {
		return err
	}
	if *namespaces {
		if err := finalizeNamespaces(ctx, config, client); err != nil {
			return err
		}
	}
	return cluster.run(ctx)
}
