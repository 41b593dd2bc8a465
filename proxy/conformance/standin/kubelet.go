package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serveKubelet serves the logs of containers as a kubelet does, and makes the Node that says
// where, which is how the API server finds it.
func serveKubelet(ctx context.Context, c *cluster, socket, advertise string) error {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	network, address, _ := strings.Cut(socket, ":")
	listener, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("--kubelet: %w", err)
	}
	if advertise == "" {
		advertise = listener.Addr().String()
	}
	found, err := netip.ParseAddrPort(advertise)
	if err != nil {
		return fmt.Errorf("--kubelet-advertise: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", c.serveLogs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	return c.makeNode(ctx, found)
}

func (c *cluster) makeNode(ctx context.Context, kubelet netip.AddrPort) error {
	nodes := c.client.CoreV1().Nodes()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.node}}
	if _, err := nodes.Create(ctx, node, metav1.CreateOptions{}); err != nil && !errors.IsAlreadyExists(err) {
		return fmt.Errorf("create Node %s: %w", c.node, err)
	}
	node, err := nodes.Get(ctx, c.node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	now := metav1.Now()
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: kubelet.Addr().String()}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(kubelet.Port())
	node.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now,
		Reason: "StandIn", Message: "Pods are echo servers of the stand-in",
	}}
	if _, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("status of Node %s: %w", c.node, err)
	}
	return nil
}

// serveLogs knows follow, tailLines, sinceTime, sinceSeconds, timestamps and limitBytes.
func (c *cluster) serveLogs(w http.ResponseWriter, r *http.Request) {
	pod := c.find(r.PathValue("namespace"), r.PathValue("pod"))
	if pod == nil {
		http.Error(w, "no such Pod here", http.StatusNotFound)
		return
	}
	logs := pod.logs[r.PathValue("container")]
	if logs == nil {
		http.Error(w, "no such container in the Pod", http.StatusNotFound)
		return
	}
	query := r.URL.Query()
	var since time.Time
	if text := query.Get("sinceTime"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			http.Error(w, "sinceTime: "+err.Error(), http.StatusBadRequest)
			return
		}
		since = at
	}
	numbers := map[string]int{"sinceSeconds": -1, "tailLines": -1, "limitBytes": -1}
	for name := range numbers {
		if text := query.Get(name); text != "" {
			number, err := strconv.Atoi(text)
			if err != nil || number < 0 {
				http.Error(w, name+" is no number", http.StatusBadRequest)
				return
			}
			numbers[name] = number
		}
	}
	if seconds := numbers["sinceSeconds"]; seconds >= 0 {
		since = time.Now().Add(-time.Duration(seconds) * time.Second)
	}
	follow, _ := strconv.ParseBool(query.Get("follow"))
	stamps, _ := strconv.ParseBool(query.Get("timestamps"))
	left := numbers["limitBytes"]

	w.Header().Set("Content-Type", "text/plain")
	lines, next, more := logs.from(0)
	if tail := numbers["tailLines"]; tail >= 0 && tail < len(lines) {
		lines = lines[len(lines)-tail:]
	}
	for {
		buffered := bufio.NewWriter(w)
		for _, line := range lines {
			if line.at.Before(since) {
				continue
			}
			text := line.text + "\n"
			if stamps {
				text = line.at.UTC().Format(time.RFC3339Nano) + " " + text
			}
			if left >= 0 {
				text = text[:min(left, len(text))]
				left -= len(text)
			}
			buffered.WriteString(text)
		}
		if buffered.Flush() != nil || !follow || left == 0 {
			return
		}
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-more:
		}
		lines, next, more = logs.from(next)
	}
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "standin"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
